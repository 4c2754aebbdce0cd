"""Low-rank adapters: nothing at first, learnt alone, added into the weights, and a small file of their own."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import sansdata
from sansdata.engine.session import Session
from sansdata.errors import StudentError
from sansdata.methods.boot import BOOT
from sansdata.methods.index import method_config
from sansdata.models.adapters import Adapted, adapt, adapter_tensors, adapters_in, fill_adapters, merged
from sansdata.models.build import architecture_of, build
from sansdata.models.diffusion.one_step import OneStep
from sansdata.runtime import Runtime
from sansdata.tasks import PairTask
from sansdata.teachers.base import Teacher
from sansdata.teachers.students import load_student

TASK = PairTask(
    inputs={"kind": "noise", "shape": [1, 4, 4]}, outputs={"kind": "field", "range": [-0.5, 0.5], "steps": 3}
)


class SelfAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.to_q, self.deep = nn.Linear(3, 5), nn.Sequential(nn.Linear(5, 3))

    def forward(self, values: Tensor) -> Tensor:
        return self.deep(self.to_q(values))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 3, 3, stride=2, padding=1)
        self.grouped = nn.Conv2d(3, 3, 1, groups=3)
        self.attention, self.head = SelfAttention(), nn.Linear(3, 2)

    def forward(self, maps: Tensor) -> Tensor:
        maps = self.grouped(self.first(maps)).mean((2, 3))
        return self.head(self.attention(maps))


def net(seed: int = 0) -> Net:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Net()


def learnt(module: nn.Module, seed: int = 1) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for part in adapters_in(module).values():
            for layer in (part.down, part.up):
                layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator))  # type: ignore[operator, union-attr]
    return module


def maps() -> Tensor:
    return torch.randn(4, 2, 8, 8, generator=torch.Generator().manual_seed(2))


def test_they_stand_beside_convolutions_and_attention_and_are_nothing_at_first() -> None:
    plain, adapted = net(), net()
    adapt(adapted, 2)
    assert set(adapters_in(adapted)) == {"first", "attention.to_q", "attention.deep.0"}
    assert torch.equal(adapted(maps()), plain(maps()))
    learning = {name for name, value in adapted.named_parameters() if value.requires_grad}
    assert learning == {f"{path}.{side}.weight" for path in adapters_in(adapted) for side in ("down", "up")}


def test_what_is_added_into_the_weights_answers_alike() -> None:
    adapted = net()
    adapt(adapted, 2)
    learnt(adapted)
    plain = merged(adapted)
    assert {name: value.shape for name, value in plain.state_dict().items()} == {
        name: value.shape for name, value in net().state_dict().items()
    }
    assert torch.allclose(plain(maps()), adapted(maps()), atol=1e-4)
    assert not torch.allclose(plain(maps()), net()(maps()), atol=1e-2)
    assert isinstance(adapted.first, Adapted)
    layer = adapted.first
    down, up = layer.down.weight, layer.up.weight  # type: ignore[union-attr]
    wanted = torch.einsum("or,rikl->oikl", up[:, :, 0, 0].double(), down.double())  # type: ignore[index, operator, union-attr]
    given = plain.first.weight - layer.base.weight  # type: ignore[union-attr, operator]
    assert torch.allclose(given.double(), wanted, atol=1e-5)


def test_nonsense_is_refused() -> None:
    for rank in (0, 1025):
        with pytest.raises(StudentError, match="rank of 1 to"):
            adapt(net(), rank)
    with pytest.raises(StudentError, match="neither"):
        adapt(nn.Sequential(nn.Linear(2, 2)), 1)
    of = {"kind": "zoo", "name": "plain-ddpm", "args": {"channels": 1, "height": 4, "width": 4, "conditions": 1}}
    for rank in ("8", True, 10**9):
        with pytest.raises(StudentError, match="rank"):
            build({"kind": "adapted", "rank": rank, "of": of})


def test_factors_of_another_network_are_refused() -> None:
    one = net()
    adapt(one, 2)
    tensors = adapter_tensors(learnt(one))
    fresh = net()
    adapt(fresh, 2)
    fill_adapters(fresh, tensors, "f")
    assert torch.equal(fresh(maps()), one(maps()))
    name = "first.lora_A.weight"
    for wrong, said in (
        ({**tensors, "more": torch.zeros(1)}, "another network"), ({**tensors, name: tensors[name][:1]}, "shape"),
        ({**tensors, name: tensors[name] * torch.nan}, "finite"), ({**tensors, name: tensors[name].long()}, "floats"),
    ):  # fmt: skip
        before = fresh(maps())
        with pytest.raises(StudentError, match=said):
            fill_adapters(fresh, wrong, "f")
        assert torch.equal(fresh(maps()), before)


def denoiser() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build(architecture_of("plain-ddpm", TASK))


def teacher(folder: Path) -> str:
    path = folder / "teacher.safetensors"
    save_file({name: value.contiguous() for name, value in denoiser().state_dict().items()}, path)
    return f"plain-ddpm@{path}"


def test_a_run_of_adapters_learns_them_alone_and_leaves_them_as_a_small_file(tmp_path: Path) -> None:
    spec = teacher(tmp_path)
    how: dict[str, Any] = {
        "task": TASK, "strict": True, "options": {"warmup": 2, "ema": 0.5, "transfer": {"batch": 4, "lr": 0.01}},
        "settings": {"threads": 1, "device": "cpu"},
    }  # fmt: skip
    result = sansdata.distill(spec, "lora:2", "boot", "6steps", tmp_path / "run", **how)
    student, own = result.student, load_file(tmp_path / "teacher.safetensors")
    assert isinstance(student, OneStep)
    adapters = adapters_in(student)
    assert adapters
    assert all(float(part.up.weight.abs().max()) > 0 for part in adapters.values())  # type: ignore[union-attr, operator, arg-type]
    plain = student.state_dict()
    kept = {name.removeprefix("of.").replace(".base.", "."): value for name, value in plain.items()}
    assert all(torch.equal(kept[name], value) for name, value in own.items())
    done = sansdata.export(tmp_path / "run", "adapters")
    factors = load_file(done.file)
    assert set(factors) == {f"{path.removeprefix('of.gt.')}.{side}.weight" for path in adapters
                            for side in ("lora_A", "lora_B")}  # fmt: skip
    again = sansdata.distill(spec, f"lora@{done.file}", "boot", "1steps", tmp_path / "again", **how)
    first = sansdata.load(tmp_path / "run").student
    noise = torch.randn(3, 1, 4, 4)
    assert torch.equal(first(noise), result.student(noise))
    assert torch.allclose(merged(first)(noise), first(noise), atol=1e-5)
    assert torch.equal(again.student(noise), first(noise)), (
        "its slow copy has not moved yet from the adapters of the file"
    )
    with pytest.raises(StudentError, match="no adapters"):
        sansdata.export(sansdata.distill(spec, "one-step", "boot", "1steps", tmp_path / "whole", **how), "adapters")


def session() -> Session:
    taught = Teacher.from_module(denoiser(), TASK)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        student = load_student("lora:2", taught, TASK).module
    config = method_config("boot", "default", {"warmup": 1, "calls": 2, "transfer": {"batch": 2}})
    return Session(BOOT, config, taught, student, TASK, Runtime(), 0, 6)


def test_a_run_goes_on_where_it_was_stopped() -> None:
    whole, begun, rest = session(), session(), session()
    whole.advance(4)
    begun.advance(2)
    for name, part in rest.state().items():
        part.load_state_dict(copy.deepcopy(begun.state()[name].state_dict()))
    rest.advance(2)
    assert all(torch.equal(one, other) for one, other in zip(whole.student.parameters(), rest.student.parameters()))
    assert not all(
        torch.equal(one, other) for one, other in zip(whole.student.parameters(), begun.student.parameters())
    )
