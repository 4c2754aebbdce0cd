"""Data-free quantization's claims at small scale: a wrecked network restored, and what calibration is worth."""

from typing import Any

from .model import Arm, Expectation, Recipe

SEEDS = 10
"""Where 4 bits are compared: three networks do not decide it."""


def _arm(name: str, role: str, seeds: int | None = None, revision: int = 0, **how: Any) -> Arm:
    return Arm.model_validate(
        {"name": name, "role": role, "method": "integers", "steps": 0, "experiment": how, "seeds": seeds,
         "revision": revision}
    )  # fmt: skip


DFQ = Recipe(
    name="dfq",
    claim="Algebra on weights and BatchNorm statistics restores a network whose channels have ranges that no common "
    "INT8 grid holds, without data; calibrated on synthesised inputs, INT8 is as good as on real ones.",
    data="fashion-mnist",
    task="fashion-mnist",
    teacher=None,
    student="depthwise-separable convolutions, trained by us",
    experiment="integers",
    arms={
        "small": (
            _arm("float", "ceiling", calibrate="none"),
            _arm("damaged-plain", "floor", calibrate="dfq", damaged=True, even_out=False, correct=False),
            _arm("damaged-equalized", "ablation", calibrate="dfq", damaged=True, correct=False),
            _arm("damaged-dfq", "method", calibrate="dfq", damaged=True, compare=True),
            _arm("zeroq", "method", SEEDS, revision=1, calibrate="zeroq"),
            _arm("deepinversion", "method", SEEDS, calibrate="deepinversion", budget="200steps"),
            _arm("noise", "floor", SEEDS, calibrate="noise"),
            _arm("real", "ceiling", calibrate="real", compare=True),
        )
    },
    matched="One network a seed, the same in all arms but for the damage, which changes no answer; weights and inner "
    "values have one scale a tensor.",
    expected=(
        Expectation(better="damaged-plain", margin=20, lower=True, paper="MobileNetV2: 0.1 % of 71.7"),
        Expectation(better="damaged-equalized", worse="damaged-plain", margin=20, paper="69.91 against 0.1"),
        Expectation(better="damaged-equalized", worse="float", margin=-1),
        Expectation(better="damaged-dfq", worse="float", margin=-1, paper="71.2 against 71.7 (from memory)"),
        Expectation(better="damaged-dfq", worse="damaged-equalized", margin=-0.25),
        Expectation(better="damaged-dfq", worse="damaged-equalized", measure="mean shift", ratio=1 / 3),
        Expectation(better="damaged-dfq", measure="logits change", margin=1, lower=True),
        Expectation(better="damaged-dfq", measure="absorbed", margin=1, lower=True),
        Expectation(better="damaged-dfq", measure="torch agrees", margin=99),
        Expectation(better="real", measure="torch agrees", margin=99),
        Expectation(better="zeroq", measure="BatchNorm loss", margin=10, lower=True),
        Expectation(better="zeroq", worse="real", margin=-1),
        Expectation(better="deepinversion", worse="real", margin=-1),
        Expectation(better="zeroq", worse="noise", measure="w4a4"),
        Expectation(better="deepinversion", worse="noise", measure="w4a4"),
    ),
    tried=(
        "Whether calibration inputs are cut to what images can be was chosen on 5,000 held-out training images, with "
        "four networks not among these, at 4 bits: ZeroQ's inputs 76.3 % cut and 73.8 % as they are (+2.5 ± 2.1 in "
        "pairs), noise 73.0 and 70.8 (+2.3 ± 4.8), real images 78.5. Undecided, and so cut: no image has other values.",
        "On one further seed, bias correction by BatchNorm brought the wrecked network's mean shift from 2.0 to 1.3 % "
        "of a spread, where two thirds were to go; the undamaged network, corrected on real images, has 0.07. Counting "
        "a convolution's zero padding in gave 1.2. So the means that BatchNorm tells are not near enough.",
    ),
)  # fmt: skip
