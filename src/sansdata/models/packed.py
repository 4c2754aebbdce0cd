"""Tensors that take fewer bytes in a student file: codes of few bits with their scale, and only what is not 0.

A packed tensor is stored under its own name as codes (U8, each value in `bits` bits, the first bit the highest) or, at
32 bits, as numbers; '#scale' behind the name holds the float32 scale of the codes, and '#kept' a bit for each element,
where only those that are not 0 are stored. A code c stands for c - h, h = 2^(bits-1) - 1, or at 1 bit for -1 or 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pydantic
import torch
from torch import Tensor

from ..config import Strict
from ..errors import UnsafeFileError
from .limits import MAX_ELEMENTS

FLOAT = 32
"""Bits that stand for plain float32."""
SCALE, KEPT = "#scale", "#kept"
CHUNK = 1 << 20
"""Elements that are spread into bits at a time; a multiple of 8, so that each begins with a byte."""


class Packing(Strict):
    """How one tensor is packed: bits of a code, or 32; its shape; sparse: whether only what is not 0 is stored."""

    bits: int
    shape: tuple[int, ...]
    sparse: bool = False

    @pydantic.model_validator(mode="after")
    def _possible(self) -> Packing:
        if not (1 <= self.bits <= 8 or (self.bits == FLOAT and self.sparse)):
            raise ValueError(f"{self.bits} bits, expected 1 to 8, or 32 for a sparse tensor")
        if not (1 <= len(self.shape) <= 8 and all(side >= 1 for side in self.shape)):
            raise ValueError("a shape has 1 to 8 sides of at least 1")
        if math.prod(self.shape) > MAX_ELEMENTS:
            raise ValueError(f"more than {MAX_ELEMENTS:,} elements")
        return self

    @property
    def elements(self) -> int:
        return math.prod(self.shape)


def highest(bits: int) -> int:
    """The largest code at so many bits, 1 to 8."""
    return max(1, 2 ** (bits - 1) - 1)


def pack(name: str, tensor: Tensor, bits: int) -> tuple[dict[str, Tensor], Packing] | None:
    """What is stored of a float32 tensor whose values lie on the grid of `bits` (32: on none), in as few bytes as it
    takes; None where packing saves nothing, or the values are on no such grid."""
    if tensor.dtype != torch.float32 or tensor.ndim == 0 or tensor.numel() == 0:
        return None
    plain = tensor.detach().cpu().contiguous()
    placed = None if bits == FLOAT else on_grid(plain, bits)
    width = FLOAT if placed is None else bits
    count, kept = plain.numel(), plain != 0
    sparse = count + int(kept.sum()) * width < count * width or (bits == 1 and not bool(kept.all()))
    if placed is None and not sparse:
        return None
    chosen = kept.flatten() if sparse else torch.ones(count, dtype=torch.bool)
    stored = {KEPT: _stored(kept.flatten().to(torch.uint8), 1)} if sparse else {}
    if placed is None:
        stored[""] = plain.flatten()[chosen]
    else:
        codes, scale = placed
        stored |= {"": _stored(_unsigned(codes.flatten()[chosen], bits), bits), SCALE: scale}
    return {name + end: value for end, value in stored.items()}, Packing(bits=width, shape=plain.shape, sparse=sparse)


def on_grid(tensor: Tensor, bits: int) -> tuple[Tensor, Tensor] | None:
    """(codes, scale) with scale * codes == tensor, bit for bit: one scale, or one for each of the first dimension;
    None where there is none. On every grid of ours the largest magnitude has the highest code."""
    for groups in (tensor.reshape(1, -1), tensor.flatten(1) if tensor.ndim > 1 else tensor.reshape(-1, 1)):
        largest = groups.abs().amax(1, keepdim=True)
        below = largest / highest(bits)
        near = [below]  # the division was rounded: the scale may be one of its neighbours
        for end in (torch.inf, 0.0):
            near += [torch.nextafter(below, torch.full_like(below, end))]
            near += [torch.nextafter(near[-1], torch.full_like(below, end))]
        scale = torch.full_like(below, torch.nan)
        for one in near:
            exact = (one * _codes(groups, one, bits) == groups).all(1, keepdim=True)
            scale = torch.where(exact & scale.isnan(), one, scale)
        if not bool(scale.isnan().any()):
            shape = () if len(groups) == 1 else (len(groups), *[1] * (tensor.ndim - 1))
            return _codes(groups, scale, bits).reshape(tensor.shape), scale.reshape(shape)
    return None


def _codes(groups: Tensor, scale: Tensor, bits: int) -> Tensor:
    smallest = torch.finfo(groups.dtype).tiny
    return (groups / scale.clamp_min(smallest)).round().clamp(-highest(bits), highest(bits))


def _unsigned(codes: Tensor, bits: int) -> Tensor:
    return ((codes > 0) if bits == 1 else codes + highest(bits)).to(torch.uint8)


def _stored(values: Tensor, bits: int) -> Tensor:
    """Whole numbers (N,) uint8 below 2^bits as bytes."""
    spread = (np.unpackbits(part.numpy()[:, None], axis=1)[:, 8 - bits :] for part in values.split(CHUNK))
    return torch.from_numpy(np.concatenate([np.packbits(part) for part in spread]))


def unpack(tensors: Mapping[str, Tensor], packings: Mapping[str, Packing], where: str) -> dict[str, Tensor]:
    """All tensors of a file as a network takes them. Raises UnsafeFileError where what is stored is not what the
    packing says: nothing is made before its size was compared with the bytes that are there."""
    rest = dict(tensors)
    if sum(one.elements for one in packings.values()) > MAX_ELEMENTS:
        raise UnsafeFileError(f"{where}: its packed tensors have more than {MAX_ELEMENTS:,} elements")
    plain = {name: _unpacked(name, rest, packing, where) for name, packing in packings.items()}
    return rest | plain


def _unpacked(name: str, tensors: dict[str, Tensor], packing: Packing, where: str) -> Tensor:
    """Takes the tensor's parts out of `tensors`."""
    what = f"{where}: packed tensor '{name[:100]}'"

    def part(end: str, dtype: torch.dtype, elements: int | None) -> Tensor:
        value = tensors.pop(name + end, None)
        if value is None:
            raise UnsafeFileError(f"{what} has no '{name[:100]}{end}'")
        if value.dtype != dtype or (elements is not None and tuple(value.shape) != (elements,)):
            raise UnsafeFileError(
                f"{what}: '{name[:100]}{end}' must be {elements} of {dtype}, and is {list(value.shape)[:8]} of "
                f"{value.dtype}"
            )
        return value

    count, kept = packing.elements, None
    if packing.sparse:
        kept = _values(part(KEPT, torch.uint8, -(-count // 8)), count, 1, what).bool()
        count = int(kept.sum())
    if packing.bits == FLOAT:
        values = part("", torch.float32, count)
    else:
        stored = part("", torch.uint8, -(-count * packing.bits // 8))
        values = _signed(_values(stored, count, packing.bits, what), packing.bits, what)
    if kept is not None:
        values = torch.zeros(packing.elements).masked_scatter_(kept, values)
    values = values.reshape(packing.shape)
    return values if packing.bits == FLOAT else _scaled(values, part(SCALE, torch.float32, None), what)


def _values(stored: Tensor, count: int, bits: int, what: str) -> Tensor:
    """(count,) uint8, the whole numbers of `bits` bits. Raises UnsafeFileError where bits are set behind the last."""
    unused = 8 * len(stored) - count * bits
    if unused and int(stored[-1]) & ((1 << unused) - 1):
        raise UnsafeFileError(f"{what}: bits are set behind its last element")
    values = torch.empty(count, dtype=torch.uint8)
    places = 1 << np.arange(bits - 1, -1, -1, dtype=np.uint8)
    for start in range(0, count, CHUNK):  # eight times the room, for some at a time
        part = values[start : start + CHUNK]
        spread = np.unpackbits(stored[start * bits // 8 :][: CHUNK * bits // 8].numpy(), count=len(part) * bits)
        part.copy_(torch.from_numpy((spread.reshape(-1, bits) * places).sum(1, dtype=np.uint8)))
    return values


def _signed(codes: Tensor, bits: int, what: str) -> Tensor:
    if bits == 1:
        return 2 * codes.float() - 1
    if codes.numel() and int(codes.max()) > 2 * highest(bits):
        raise UnsafeFileError(
            f"{what}: a code of {int(codes.max())}, the highest at {bits} bits is {2 * highest(bits)}"
        )
    return codes.float() - highest(bits)


def _scaled(codes: Tensor, scale: Tensor, what: str) -> Tensor:
    shapes: list[Any] = [(), (codes.shape[0], *[1] * (codes.ndim - 1))]
    if tuple(scale.shape) not in shapes or not bool((torch.isfinite(scale) & (scale >= 0)).all()):
        raise UnsafeFileError(f"{what}: its scale must be one number from 0, or one for each of the first dimension")
    values = scale * codes
    if not bool(torch.isfinite(values).all()):
        raise UnsafeFileError(f"{what}: its values are not finite")
    return values
