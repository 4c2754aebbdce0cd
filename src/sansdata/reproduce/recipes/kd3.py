"""Distillation from a heap of unrelated images: which of them are worth teaching."""

from .model import Arm, Expectation, Recipe, TeacherRecipe

_POOL = {"near": {"digits": 1200}, "far": {"fashion-mnist": 4800}, "margin": 2}
"""6,000 files, a fifth of them handwritten digits of another source and size; the margin is that of MNIST."""
_STEPS = 1000
_STUDENT = {"batch": 64}


def _arm(name: str, role: str, method: str, paper: str = "", **options: object) -> Arm:
    given = {"view": "crop", "transfer": _STUDENT} | options
    if method == "kd3":
        given = {"steps_per_epoch": 100} | given
    return Arm.model_validate(
        {
            "name": name, "role": role, "method": method, "steps": _STEPS, "preset": "small", "options": given,
            "experiment": _POOL, "paper": paper,
        }
    )  # fmt: skip


KD3 = Recipe(
    name="kd3",
    claim="Of a heap of unrelated images, those that KD3 chooses anew every epoch teach more than the whole heap and "
    "than as many at random.",
    data="mnist",
    task={"kind": "image", "shape": [1, 10, 10], "classes": 10, "mean": [0.1307], "std": [0.3081]},
    teacher=TeacherRecipe(network="resnet8", epochs=2),
    student="shrink:0.5",
    experiment="pool",
    arms={
        "small": (
            _arm("kd3", "method", "kd3", paper="95.21 on CIFAR-10 (table 1, as summarised elsewhere)"),
            _arm("pool-kd", "floor", "pool-kd"),
            _arm("pool-kd-random-share", "floor", "pool-kd", share=0.2),
            _arm("dfnd", "method", "dfnd"),
            _arm("kd3-no-selection", "ablation", "kd3", select="none"),
            _arm("kd3-no-weights", "ablation", "kd3", weighted=False),
            _arm("kd3-no-contrast", "ablation", "kd3", contrast=0.0),
            Arm(
                name="kd-real-data", role="ceiling", method="real-data", steps=_STEPS,
                options={"view": "crop", "transfer": {"batch": 64, "temperature": 4.0}},
            ),
        )
    },
    expected=(
        Expectation(better="kd3", worse="pool-kd", margin=1),
        Expectation(better="kd3", worse="pool-kd-random-share", margin=1),
        Expectation(better="kd3", worse="kd3-no-selection"),
        Expectation(better="kd3", worse="kd3-no-contrast"),
        Expectation(better="kd3", worse="kd3-no-weights"),
        Expectation(better="kd3", margin=40, measure="kept near"),
        Expectation(better="kd-real-data", worse="kd3"),
    ),
)  # fmt: skip
