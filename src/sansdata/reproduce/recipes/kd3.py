"""Distillation from a heap of unrelated images: which of them are worth teaching."""

from .mnist_10x10 import TASK
from .model import Arm, Expectation, Recipe, TeacherRecipe

_POOL = {"near": {"digits": 1200}, "far": {"fashion-mnist": 1200}, "margin": 2}
"""2,400 files, half of them handwritten digits of another source and size; the margin is that of MNIST."""
_STEPS = 600
_STUDENT = {"batch": 64}


def _arm(name: str, role: str, method: str, paper: str = "", **options: object) -> Arm:
    given = {"view": "crop", "transfer": _STUDENT} | options
    if method == "kd3":
        given = {"steps_per_epoch": 60} | given
    return Arm.model_validate(
        {
            "name": name, "role": role, "method": method, "steps": _STEPS, "preset": "small", "options": given,
            "experiment": _POOL, "paper": paper,
        }
    )  # fmt: skip


KD3 = Recipe(
    name="kd3",
    claim="On a heap of images of which half are unrelated, KD3 teaches more than distillation on the whole heap and "
    "on a random part of it, and its choice leaves out the unrelated ones.",
    data="mnist",
    task=TASK,
    teacher=TeacherRecipe(network="resnet8", epochs=2),
    student="shrink:0.5",
    experiment="pool",
    arms={
        "small": (
            _arm("kd3", "method", "kd3", paper="95.21 on CIFAR-10 (table 1, as summarised elsewhere)"),
            _arm("pool-kd", "floor", "pool-kd"),
            _arm("pool-kd-random-fifth", "floor", "pool-kd", share=0.2),
            _arm("dfnd", "method", "dfnd"),
            _arm("mosaickd", "method", "mosaickd", view="none"),
            _arm("kd3-no-selection", "ablation", "kd3", select="none"),
            _arm("kd3-no-contrast", "ablation", "kd3", contrast=0.0),
            Arm(
                name="kd-real-data", role="ceiling", method="real-data", steps=_STEPS,
                options={"view": "crop", "transfer": {"batch": 64, "temperature": 4.0}},
            ),
        )
    },
    expected=(
        Expectation(better="kd3", worse="pool-kd", margin=1),
        Expectation(better="kd3", worse="pool-kd-random-fifth", margin=1),
        Expectation(better="kd3", worse="kd3-no-selection"),
        Expectation(better="kd3", worse="kd3-no-contrast"),
        Expectation(better="kd3", margin=60, measure="kept near"),
        Expectation(better="kd-real-data", worse="kd3"),
    ),
)  # fmt: skip
