"""An autoencoder as one safetensors file: its tensors, and under one key of the metadata strict JSON that says what
they are. Nothing in it is run. What the files of tables and of pictures have in common."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TypeVar

import torch
from safetensors.torch import save
from torch import Tensor, nn

from ...config import Strict, validate
from ...errors import TeacherError, UnsafeFileError
from ...files import write_atomic
from .base import Bank, LatentSource, Moments

Form = TypeVar("Form", bound=Strict)
Net = TypeVar("Net", bound=nn.Module)
LATENT_TENSORS = {f"moments.{name}" for name in ("weights", "means", "factors")} | {"bank.latents", "bank.groups"}


def description_in(path: Path, metadata: dict[str, str], key: str, form: type[Form]) -> Form:
    """What the metadata say under `key`, as strict data of `form`. Raises TeacherError."""
    try:
        fields = json.loads(metadata.get(key, ""))
    except (ValueError, RecursionError):
        raise TeacherError(f"{path}: is no autoencoder as sansdata saves it (metadata {key})") from None
    if not isinstance(fields, dict):
        raise TeacherError(f"{path}: the metadata {key} must be an object")
    return validate(form, fields, f"{path}: {key}", error=TeacherError)


def write_described(path: Path, key: str, described: Strict, model: LatentSource) -> None:
    """Writes the tensors of `model`, and what it is under `key` of the metadata."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in model.vae.state_dict().items()}
    tensors |= _tensors_of_latents(model)
    write_atomic(path, save(tensors, {key: json.dumps(described.model_dump(mode="json"), allow_nan=False)}))


def network_in(path: Path, tensors: dict[str, Tensor], make: Callable[[], Net]) -> Net:
    """The network that `make` makes, with a file's weights, frozen and in eval mode. Raises TeacherError and
    UnsafeFileError for weights that are none of it."""
    with torch.device("meta"):
        network = make()
    shapes = {name: value.shape for name, value in network.state_dict().items()}
    for name, shape in shapes.items():
        _require(path, tensors, name, shape)
    network.load_state_dict({name: tensors[name].float() for name in shapes}, assign=True)
    return network.eval().requires_grad_(False)


def _require(path: Path, tensors: dict[str, Tensor], name: str, shape: tuple[int, ...]) -> Tensor:
    """The finite tensor `name` of that shape. Raises."""
    value = tensors.get(name)
    if value is None or value.shape != torch.Size(shape) or not value.is_floating_point():
        actual = "none" if value is None else f"{value.dtype} {list(value.shape)}"
        raise UnsafeFileError(f"{path}: '{name}' must be floats of shape {list(shape)}, got {actual}")
    if not bool(torch.isfinite(value).all()):
        raise TeacherError(f"{path}: '{name}' is not finite; the training that made it diverged")
    return value


def _tensors_of_latents(model: LatentSource) -> dict[str, Tensor]:
    """What a file holds of the latents of real data, by name."""
    tensors: dict[str, Tensor] = {}
    if model.moments is not None:
        tensors |= {f"moments.{name}": value.contiguous() for name, value in vars(model.moments).items()}
    if model.bank is not None:
        tensors |= {f"bank.{name}": value.contiguous() for name, value in vars(model.bank).items()}
    return tensors


def latents_in(
    path: Path, tensors: dict[str, Tensor], others: Collection[str], latent: int, groups: int, recorded: int
) -> tuple[Moments | None, Bank | None]:
    """What a file holds of the latents of real data. others: the names of its other tensors. recorded: how many
    latents it says it holds. Raises TeacherError, UnsafeFileError where it holds other numbers of them."""
    moments, bank = _moments_in(path, tensors, latent), _bank_in(path, tensors, latent, groups)
    held = 0 if bank is None else len(bank.latents)
    if held != recorded:
        raise UnsafeFileError(f"{path}: says it holds {recorded} latents of real rows, and holds {held}")
    if extra := tensors.keys() - set(others) - LATENT_TENSORS:
        raise TeacherError(f"{path}: holds a tensor '{sorted(extra)[0][:80]}' that no autoencoder has")
    return moments, bank


def _moments_in(path: Path, tensors: dict[str, Tensor], latent: int) -> Moments | None:
    if "moments.weights" not in tensors:
        return None
    count = len(tensors["moments.weights"]) if tensors["moments.weights"].ndim == 1 else 0
    weights = _require(path, tensors, "moments.weights", (count,)).float()
    means = _require(path, tensors, "moments.means", (count, latent)).float()
    factors = _require(path, tensors, "moments.factors", (count, latent, latent)).float()
    if not count or bool((weights <= 0).any()) or abs(float(weights.sum()) - 1) > 1e-3:
        raise TeacherError(f"{path}: the weights of its moments must be above 0 and make 1")
    return Moments(weights, means, factors)


def _bank_in(path: Path, tensors: dict[str, Tensor], latent: int, groups: int) -> Bank | None:
    latents, members = tensors.get("bank.latents"), tensors.get("bank.groups")
    if latents is None and members is None:
        return None
    count = 0 if latents is None else len(latents)
    checked = _require(path, tensors, "bank.latents", (count, latent)).float()
    if members is None or members.dtype != torch.int64 or members.shape != (count,) or not count:
        raise UnsafeFileError(f"{path}: 'bank.groups' must be the group of each of {count} latents")
    if int(members.min()) < 0 or int(members.max()) >= groups:
        raise UnsafeFileError(f"{path}: 'bank.groups' names a group that there is not")
    return Bank(checked, members)
