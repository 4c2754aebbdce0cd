"""Packed tensors: what is stored comes back bit for bit in as few bytes as it should, and a lie is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from sansdata.compress.grids import snap
from sansdata.errors import SansdataError, TeacherError, UnsafeFileError
from sansdata.models.packed import highest, on_grid, pack, unpack
from sansdata.models.saved import KEY, read_model, write_model
from sansdata.tasks import load_task

CIFAR = load_task("cifar10")


def weight(seed: int = 0, shape: tuple[int, ...] = (16, 8, 3, 3)) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def there_and_back(tensor: Tensor, bits: int) -> tuple[Tensor, int]:
    """(what comes back, bytes that were stored)."""
    packed = pack("w", tensor, bits)
    assert packed is not None
    tensors, packing = packed
    return unpack(tensors, {"w": packing}, "file")["w"], sum(t.numel() * t.element_size() for t in tensors.values())


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_grids_come_back_bit_for_bit_at_their_bits(bits: int) -> None:
    for seed in range(20):
        values = snap(weight(seed), bits).values
        back, size = there_and_back(values, bits)
        assert torch.equal(back, values)
        assert size <= values.numel() * bits / 8 + 4 * (len(values) if bits == 8 else 1)


@pytest.mark.parametrize("bits", [3, 4, 5, 7])
def test_a_scale_for_each_channel(bits: int) -> None:
    random, most = torch.Generator().manual_seed(0), highest(bits)
    codes = torch.randint(-most, most + 1, (5, 33), generator=random).float()
    codes[:, 0] = most
    codes[3] = 0
    values = codes * torch.tensor([1.1, 0.013, 7.7, 1.0, 1e-9])[:, None]
    back, size = there_and_back(values, bits)
    assert torch.equal(back, values)
    assert size <= -(-values.numel() * bits // 8) + 20


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 32])
@pytest.mark.parametrize("keep", [0.0, 0.1, 0.9])
def test_only_what_is_kept_is_stored(bits: int, keep: float) -> None:
    pruned = weight(1) * (weight(2) > torch.tensor(keep).mul(2).sub(1).neg().mul(2))
    values = pruned if bits == 32 else snap(pruned, bits).values
    share = float((values != 0).float().mean())
    back, size = there_and_back(values, bits)
    assert torch.equal(back, values)
    assert size <= min(bits, 1 + bits * share + 0.01) * values.numel() / 8 + 4 * len(values) or bits == 1


def test_what_is_on_no_grid_is_left_as_it_is() -> None:
    assert on_grid(weight(), 4) is None
    assert pack("w", weight(), 4) is None
    assert pack("w", weight(), 32) is None
    assert pack("w", weight().double(), 4) is None


def test_a_file_of_4_bits_has_less_than_a_fifth_of_the_bytes(tmp_path: Path) -> None:
    module = nn.Sequential(
        nn.Conv2d(3, 32, 3), nn.BatchNorm2d(32), nn.Conv2d(32, 64, 3), nn.Flatten(), nn.Linear(9, 10)
    )
    sizes = {}
    for name, packable in (("float", None), ("packed", {"0.weight": 4, "2.weight": 4})):
        for part in (module[0], module[2]):
            part.weight.data = snap(part.weight.data, 4).values  # type: ignore[union-attr, arg-type]
        path = tmp_path / f"{name}.safetensors"
        write_model(path, module, None, CIFAR, {}, packable)
        saved, sizes[name] = read_model(path), path.stat().st_size
        assert saved.bits == (packable or {})
        own = module.state_dict()
        assert saved.tensors.keys() == own.keys()
        assert all(torch.equal(saved.tensors[key], own[key]) for key in own)
    assert sizes["packed"] < 0.2 * sizes["float"]


def file_of(folder: Path, tensors: dict[str, Tensor], packed: Any, **fields: Any) -> Path:
    said = {
        "format": 3, "architecture": None, "task": CIFAR.model_dump(mode="json"),
        "preprocessing": CIFAR.own_preprocessing, "provenance": {}, "packed": packed,
    }  # fmt: skip
    path = folder / "s.safetensors"
    safetensors.torch.save_file(tensors, path, {KEY: json.dumps(said | fields)})
    return path


CODES = {"w": torch.tensor([0b01001110, 0b00000000], dtype=torch.uint8), "w#scale": torch.tensor(0.5)}
GOOD = {"bits": 4, "shape": [3]}


def test_the_format_is_what_the_module_says(tmp_path: Path) -> None:
    saved = read_model(file_of(tmp_path, CODES, {"w": GOOD}))
    assert torch.equal(saved.tensors["w"], torch.tensor([4 - 7, 14 - 7, 0 - 7]) * 0.5)


@pytest.mark.parametrize(
    ("change", "packing", "words"),
    [
        ({}, {"bits": 4, "shape": [2**20, 2**20]}, "elements"),
        ({}, {"bits": 4, "shape": [10**30]}, "elements"),
        ({}, {"bits": 4, "shape": [5]}, "must be 3 of"),
        ({}, {"bits": 4, "shape": [0, 10**12]}, "sides of at least 1"),
        ({}, {"bits": 4, "shape": [1] * 9}, "1 to 8 sides"),
        ({}, {"bits": 4, "shape": [-3, -1]}, "sides"),
        ({}, {"bits": 9, "shape": [3]}, "9 bits"),
        ({}, {"bits": 32, "shape": [3]}, "32 bits"),
        ({}, {"bits": 4, "shape": [3], "sparse": True}, "no 'w#kept'"),
        ({}, {"bits": 4, "shape": [3], "more": 1}, "unknown setting"),
        ({"w": torch.tensor([0xFF, 0], dtype=torch.uint8)}, GOOD, "a code of 15"),
        ({"w": torch.tensor([0, 1], dtype=torch.uint8)}, GOOD, "behind its last element"),
        ({"w": torch.zeros(2)}, GOOD, "float32"),
        ({"w": None}, GOOD, "no 'w'"),
        ({"w#scale": None}, GOOD, "no 'w#scale'"),
        ({"w#scale": torch.tensor(float("nan"))}, GOOD, "scale"),
        ({"w#scale": torch.tensor(-1.0)}, GOOD, "scale"),
        ({"w#scale": torch.tensor(3e38)}, GOOD, "not finite"),
        ({"w#scale": torch.ones(2)}, GOOD, "scale"),
        ({"w#scale": torch.tensor(1.0, dtype=torch.float64)}, GOOD, "float64"),
    ],
)  # fmt: skip
def test_what_does_not_add_up_is_refused(
    tmp_path: Path, change: dict[str, Tensor | None], packing: dict[str, Any], words: str
) -> None:
    tensors = {name: value for name, value in (CODES | {"other": torch.zeros(1)} | change).items() if value is not None}
    with pytest.raises((TeacherError, UnsafeFileError), match=words) as fault:
        read_model(file_of(tmp_path, tensors, {"w": packing}))
    assert "s.safetensors" in str(fault.value)


def test_many_packed_tensors_have_one_limit(tmp_path: Path) -> None:
    many = {f"w{i}": {"bits": 1, "shape": [2**31], "sparse": True} for i in range(4)}
    with pytest.raises(SansdataError, match="elements"):
        read_model(file_of(tmp_path, CODES, many))


@pytest.mark.parametrize("fields", [{"format": 1}, {"format": 2}, {"format": 4}])
def test_packed_tensors_are_of_format_3(tmp_path: Path, fields: dict[str, Any]) -> None:
    with pytest.raises(TeacherError):
        read_model(file_of(tmp_path, CODES, {"w": GOOD}, **fields))
