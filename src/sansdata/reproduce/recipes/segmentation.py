"""Students of networks of masks: membranes in electron microscopy, and streets."""

from __future__ import annotations

from typing import Any

from .model import Arm, Expectation, Recipe, Role

_FLOORS = ("gaussian", "fractal", "dead-leaves")
_TRANSFER: dict[str, Any] = {
    "optimizer": "adam", "lr": 3e-3, "weight_decay": 0.0, "schedule": "cosine", "batch": 16,
}  # fmt: skip
_SMALL: dict[str, Any] = {"width": 16, "latent": 64}


class _Set:
    """The arms of one set: teacher, student steps and what these match. seeds: of arms of a wide spread, where three
    decide little."""

    def __init__(self, teacher_steps: int, steps: int, seeds: dict[str, int], **match: Any) -> None:
        self.teacher, self.steps = {"teacher": "unet", "teacher_steps": teacher_steps}, steps
        self.seeds, self.transfer = seeds, _TRANSFER | match

    def arm(self, name: str, role: Role, method: str, more: dict[str, Any], **experiment: str) -> Arm:
        return Arm(
            name=name, role=role, method=method, steps=self.steps, options={**more, "transfer": self.transfer},
            experiment=self.teacher | experiment, seeds=self.seeds.get(name),
        )  # fmt: skip

    def floors(self) -> tuple[Arm, ...]:
        return tuple(self.arm(f"noise-{source}", "floor", "noise", {"source": source}) for source in _FLOORS)

    def dfad(self) -> tuple[Arm, ...]:
        released = {"form": "transposed", "bounded": True}
        return (
            self.arm("dfad", "method", "dfad", _SMALL | released),
            self.arm("dfad-bn", "method", "dfad", _SMALL | {"bn": 1.0}),
        )

    def others(self) -> tuple[Arm, ...]:
        fm = {"k": 5, "bn": 2.0, "bn_momentum": 0.0, "batch": 32, "warmup_rounds": 5, "steps_per_round": 20}
        pixels = {"batch": 32, "iterations": 40, "chunk": 20, "pixel_lr": 0.2, "tv": 3e-3, "steps_per_batch": 50}
        return (
            self.arm("dafl-bn", "method", "dafl", _SMALL | {"activation": 0.0, "one_hot": 0.1, "bn": 1.0}),
            self.arm("fm", "method", "fm", _SMALL | fm | {"ce": 0.0}),
            self.arm("deepinversion", "method", "deepinversion", pixels),
        )

    def given(self) -> tuple[Arm, ...]:
        view = {"view": "crop+flip"}
        return (
            self.arm("pool-kd", "method", "pool-kd", view, pool="cifar10"),
            self.arm("real-images", "ceiling", "real-data", view),
        )


def _above_and_near(arm: str, above: float = 10.0, near: float = 15.0) -> tuple[Expectation, ...]:
    return (
        *(Expectation(better=arm, worse=f"noise-{source}", margin=above) for source in _FLOORS),
        Expectation(better=arm, worse="real-images", margin=-near),
    )


_EM = _Set(600, 200, {"dfad-bn": 10, "fm": 10, "noise-dead-leaves": 10}, match="l1")
MEMBRANES = Recipe(
    name="segmentation-em",
    claim="Membranes in electron microscopy without an image of it: mean IoU (in the column of accuracy) against noise "
    "and against the real training images.",
    data="seg_em",
    task={
        "inputs": {"kind": "image", "shape": [1, 32, 32]},
        "outputs": {"kind": "masks", "classes": 2, "class_names": ["membrane", "cell"]},
        "preprocessing": {"mean": [0.5], "std": [0.18]},
    },
    teacher=None,
    student="shrink:0.5",
    experiment="segmentation",
    held_out=0,
    matched="200 steps of 16 images for every arm, the same rate; a U-Net of 118 k parameters taught, one of 30 k.",
    arms={"small": (*_EM.floors(), *_EM.dfad(), *_EM.others(), *_EM.given())},
    expected=(
        *_above_and_near("dfad-bn"),
        *_above_and_near("fm"),
        Expectation(better="dfad", worse="noise-dead-leaves", margin=10.0),
        Expectation(better="dfad-bn", worse="pool-kd"),
    ),
    tried=(
        "Settings were chosen on the last fifth of the training tiles, one seed. Mean IoU there: dfad as released for "
        "masks 39, as for classes 39 (every pixel of one class), with BatchNorm statistics 73; fm asked for random "
        "layouts 69, for the statistics alone 70; deepinversion 66; the real images 74.",
        "The arm dfad was run again after its test figure was seen (40.0): the released generator reaches black and "
        "white, where ours stayed within a standard deviation of grey. Nothing else was changed.",
    ),
)

_STREETS = _Set(1000, 500, {"dfad-bn": 5, "noise-dead-leaves": 5}, match="kl", temperature=1.0)
STREETS = Recipe(
    name="segmentation-camvid",
    claim="Streets in eleven classes without an image of them: mean IoU (in the column of accuracy) against noise and "
    "against the real training images.",
    data="seg_camvid",
    task={
        "inputs": {"kind": "image", "shape": [3, 40, 40]},
        "outputs": {
            "kind": "masks",
            "classes": 11,
            "class_names": [
                "sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian",
                "bicyclist",
            ],
        },
        "preprocessing": {"mean": [0.41, 0.42, 0.43], "std": [0.3, 0.3, 0.3]},
    },
    teacher=None,
    student="unet",
    experiment="segmentation",
    held_out=0,
    matched="500 steps of 16 images for every arm, the same rate; a U-Net of 119 k parameters taught, and one like it.",
    arms={"small": (*_STREETS.floors(), *_STREETS.dfad(), *_STREETS.others(), *_STREETS.given())},
    expected=(*_above_and_near("dfad-bn"), *_above_and_near("fm")),
    tried=(
        "First the settings were those for membranes: distances of logits, 250 steps, a U-Net of 30 k parameters. The "
        "arms met the test set so, and none learnt reliably (mean IoU: noise 2 to 6, dfad-bn 2 to 5, fm 2, 9 and 17): "
        "of eleven classes, most logits of a pixel say how far away a class is that nobody would name.",
        "On the last fifth of the training images, one seed: fm 3.3 by distances of logits and 18.2 by KL at a "
        "temperature of 1, the real images 19.2 by either; 500 steps of a network as large as the teacher (35.0): "
        "fm 26.3, dfad-bn 26.7, dead leaves 13.2, the real images 23.4.",
    ),
)  # fmt: skip
