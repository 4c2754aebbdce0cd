"""Generators whose papers had no BatchNorm term, on teachers with BatchNorm: as released, and with two remedies."""

from __future__ import annotations

from typing import Any

from .model import Arm, Expectation, Recipe, Role, TeacherRecipe, noise_floors

_GENERATORS = ("dafl", "dfad", "zskt")
_REMEDIES = {"output": "unit", "bn": 1.0}
"""A sigmoid in place of a last BatchNorm, whose unit variance saturates some teachers; and the statistics' distance."""


def _arms(steps: int, batch: int) -> tuple[Arm, ...]:
    def arm(name: str, role: Role, method: str, **options: Any) -> Arm:
        return Arm(
            name=name, role=role, method=method, preset="small", steps=steps,
            options={"transfer": {"batch": batch}} | options,
        )  # fmt: skip

    return (
        *noise_floors(steps, batch=batch),
        *(arm(method, "ablation", method) for method in _GENERATORS),
        *(arm(f"{method} with bn", "method", method, **_REMEDIES) for method in _GENERATORS),
        arm("zskd", "method", "zskd"),
    )


def _expected() -> tuple[Expectation, ...]:
    floors = ("noise-gaussian", "noise-fractal", "noise-dead-leaves")
    return (
        *(
            Expectation(better=better, worse=floor)
            for better in (*(f"{method} with bn" for method in _GENERATORS), "zskd")
            for floor in floors
        ),
        *(Expectation(better=f"{method} with bn", worse=method) for method in _GENERATORS),
    )


_CLAIM = (
    "A sigmoid at the generator's end and the distance to BatchNorm's statistics let DAFL, DFAD and ZSKT work on "
    "teachers with BatchNorm, better than noise of any kind."
)
_MATCHED = "student steps and batch; the rates are those of each method's preset."

BATCHNORM_DIGITS = Recipe(
    name="batchnorm-digits",
    claim=_CLAIM,
    data="digits",
    task="digits",
    teacher=TeacherRecipe(network="resnet8", epochs=6),
    student="shrink:0.5",
    held_out=300,
    arms={"small": _arms(steps=800, batch=128)},
    matched=_MATCHED,
    expected=_expected(),
)

BATCHNORM_CIFAR10 = Recipe(
    name="batchnorm-cifar10",
    claim=_CLAIM,
    data="cifar10",
    task={
        "kind": "image", "shape": [3, 32, 32], "classes": 10, "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
    },
    teacher=TeacherRecipe(network="resnet20", file="checkpoints/cifar10_resnet/resnet20-12fca82f.th"),
    student="shrink:0.5",
    held_out=2000,
    arms={"small": _arms(steps=600, batch=64)},
    matched=_MATCHED,
    expected=_expected(),
    tried=("This teacher's largest logit on such images is about 9, where the Fashion-MNIST teacher has 27 to 39.",),
)  # fmt: skip
