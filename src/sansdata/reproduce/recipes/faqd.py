"""FAQD's claims at small scale: label-free training at few bits against rounding, hard labels, and without affinity."""

from __future__ import annotations

from typing import Any

from .model import Arm, Expectation, Recipe, TeacherRecipe

_STEPS = 600
_SEEDS = 10
"""Of the arms on the pool, which are cheap."""
_TRANSFER = {"batch": 64, "match": "mse", "lr": 0.05, "weight_decay": 1e-4, "schedule": "cosine"}
_IMAGES = {"steps_per_batch": 150, "view": "crop+flip"}
"""Of the data-free arms: four batches of 128 images are inverted in a run."""
_AFFINE = {"fast_affinity": 10.0}


def _arm(name: str, role: str, bits: str | None = None, method: str = "pool-kd", affine: bool = False) -> Arm:
    inverted, of_pool = method == "deepinversion", {"experiment": {"pool": True}}
    options: dict[str, Any] = {"transfer": _TRANSFER} | (_IMAGES if inverted else {})
    return Arm.model_validate(
        {
            "name": name, "role": role, "method": method, "steps": _STEPS, "options": options,
            "preset": "default" if method == "hard-labels" else "small", "run": {} if bits is None else {"bits": bits},
            "features": _AFFINE if affine else {}, **({} if inverted else of_pool | {"seeds": _SEEDS}),
        }
    )  # fmt: skip


FAQD = Recipe(
    name="faqd",
    claim="Without labels a student at 4 bits loses at most a point to one in float, at 2 bits 2 and at 1 bit 4; "
    "rounding a trained student and hard labels lose more.",
    data="fashion-mnist",
    task={"kind": "image", "shape": [1, 14, 14], "classes": 10, "mean": [0.286], "std": [0.353]},
    teacher=TeacherRecipe(network="resnet8", epochs=4),
    student="resnet8",
    experiment="few-bits",
    arms={
        "small": (
            _arm("float", "ceiling"),
            _arm("w4", "method", "w4"),
            _arm("w2", "method", "w2"),
            _arm("w1", "method", "w1"),
            _arm("w1-affinity", "method", "w1", affine=True),
            _arm("w4a4", "method", "w4a4"),
            _arm("hard-labels-w4", "floor", "w4", "hard-labels"),
            _arm("hard-labels-w2", "floor", "w2", "hard-labels"),
            _arm("hard-labels-w1", "floor", "w1", "hard-labels"),
            _arm("synthetic-float", "ceiling", None, "deepinversion"),
            _arm("synthetic-w4", "method", "w4", "deepinversion"),
            _arm("synthetic-w1", "method", "w1", "deepinversion"),
            _arm("synthetic-w1-affinity", "method", "w1", "deepinversion", affine=True),
        )
    },
    matched="all arms have the same student, steps, batch, rate and views; those of the pool learn from the training "
    "images without their labels, the synthetic ones from images that DeepInversion makes.",
    expected=(
        Expectation(better="w4", worse="float", margin=-1),
        Expectation(better="w2", worse="float", margin=-2),
        Expectation(better="w1", worse="float", margin=-4),
        Expectation(better="w4", worse="float", measure="w4"),
        Expectation(better="w2", worse="float", measure="w2", margin=5),
        Expectation(better="w1", worse="float", measure="w1", margin=20),
        Expectation(better="w4", worse="hard-labels-w4"),
        Expectation(better="w2", worse="hard-labels-w2"),
        Expectation(better="w1", worse="hard-labels-w1"),
        Expectation(better="w4a4", worse="float", margin=-2),
        Expectation(better="w1-affinity", worse="w1"),
        Expectation(better="synthetic-w4", worse="synthetic-float", margin=-1),
        Expectation(better="synthetic-w1", worse="synthetic-float", margin=-4),
        Expectation(better="synthetic-w1-affinity", worse="synthetic-w1"),
        Expectation(better="w4", margin=20, measure="file", lower=True),
        Expectation(better="w1", margin=10, measure="file", lower=True),
    ),
    tried=(
        "The rate, on held-out training images, one seed, a teacher of 2 epochs: floats at 0.05 and 0.1 gave 80.1 and "
        "79.5 %, 1 bit 77.8 and 76.6, 2 bits at 0.02 and 0.05 77.2 and 77.4; all arms have 0.05. Affinity at 1 bit: "
        "weights 0, 2 and 10 (the released one) gave 77.8, 77.7 and 77.2.",
        "Activations at 4 bits met the test set twice: at first 71.0 %, one seed. With the released slowing down of "
        "0.01 resolutions shrank in the first steps until most of an activation was cut off. The factor 0.001 was "
        "then chosen on held-out images.",
        "At 1 bit on synthetic images the student loses twice as much as on real ones. No other images, more steps or "
        "a start from a float student were tried.",
    ),
)  # fmt: skip

FAQD_CIFAR10 = Recipe(
    name="faqd-cifar10",
    claim="The same on colour images and a public checkpoint: without labels a student at 4 bits loses at most a point "
    "to one in float, at 2 bits 2 and at 1 bit 4.",
    data="cifar10",
    task={
        "kind": "image", "shape": [3, 32, 32], "classes": 10, "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
    },
    teacher=TeacherRecipe(network="resnet20", file="checkpoints/cifar10_resnet/resnet20-12fca82f.th"),
    student="resnet20",
    held_out=2000,
    experiment="few-bits",
    arms={
        "small": tuple(
            arm.model_copy(update={"seeds": 3})
            for arm in (
                _arm("float", "ceiling"),
                _arm("w4", "method", "w4"),
                _arm("w2", "method", "w2"),
                _arm("w1", "method", "w1"),
                _arm("w1-affinity", "method", "w1", affine=True),
                _arm("hard-labels-w1", "floor", "w1", "hard-labels"),
                *(
                    _arm(f"{name}-long", role, bits).model_copy(update={"steps": 4 * _STEPS})
                    for name, role, bits in (
                        ("float", "ceiling", None), ("w2", "method", "w2"), ("w1", "method", "w1"),
                        ("w4", "method", "w4"),
                    )
                ),
            )
        )
    },
    matched="all arms have the same student from random weights, batch, rate and views, and learn from 8,000 training "
    "images without their labels; 600 steps, the long ones 2,400.",
    expected=(
        *(
            Expectation(better=f"{bits}{length}", worse=f"float{length}", margin=margin)
            for length in ("", "-long")
            for bits, margin in (("w4", -1), ("w2", -2), ("w1", -4))
        ),
        Expectation(better="w1", worse="float", measure="w1", margin=20),
        Expectation(better="w1-affinity", worse="w1"),
        Expectation(better="w1", worse="hard-labels-w1"),
        Expectation(better="w4", margin=20, measure="file", lower=True),
    ),
    tried=(
        "600 steps of 64 are 260 times fewer images than the paper has, and even the float student is far from its "
        "end. What more steps do was looked at on 2,000 held-out training images, one seed, after the short arms had "
        "met the test set: after 2,400 steps float has 73.3, 4 bits 71.3, 2 bits 73.0 and 1 bit 69.0 %. The long arms "
        "came of that.",
        "What few bits lose in the long arms they lose on the images that they learn from too: there float names the "
        "teacher's class on 78.8 %, 4 bits on 78.3, 2 on 75.8 and 1 on 72.6 %. They fit less; it is not that they "
        "generalise worse. Other rates for few bits were not tried on these images.",
        "From the teacher's own weights, at the released rate of 0.01 and in 300 steps (held-out images, one seed): 2 "
        "bits 90.2, 1 bit 62.8 %.",
    ),
)  # fmt: skip
