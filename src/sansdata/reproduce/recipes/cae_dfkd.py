"""What a student is worth on other tasks: CAE-DFKD with and without its contrast, between floor and ceiling."""

from .model import Arm, Expectation, Recipe, TeacherRecipe

STEPS = 600
_OTHERS = {"targets": ["mnist", "seg_em"]}

CAE_DFKD = Recipe(
    name="cae-dfkd",
    claim="A contrast of diffused class embeddings gives a student features that serve another task better, at no cost "
    "in its own.",
    data="fashion-mnist",
    task="fashion-mnist",
    teacher=TeacherRecipe(network="resnet8", epochs=8),
    student="shrink:0.5",
    experiment="transfer",
    arms={
        "small": (
            Arm(name="cae-dfkd", role="method", method="cae-dfkd", preset="small", steps=STEPS, experiment=_OTHERS),
            Arm(
                name="cae-dfkd-no-contrast", role="ablation", method="cae-dfkd", preset="small", steps=STEPS,
                options={"contrast": 0.0}, experiment=_OTHERS,
            ),
            Arm(
                name="cae-dfkd-no-noise", role="ablation", method="cae-dfkd", preset="small", steps=STEPS,
                options={"magnitudes": [0.0, 0.0, 0.0, 0.0]}, experiment=_OTHERS,
            ),
            Arm(name="fm-k5", role="method", method="fm", preset="small", steps=STEPS, experiment=_OTHERS),
            Arm(
                name="kd-real-data", role="ceiling", method="real-data", steps=STEPS,
                options={"transfer": {"batch": 128}}, experiment=_OTHERS,
            ),
            Arm(name="random-init", role="floor", method="random-init", steps=0, experiment=_OTHERS),
        )
    },
    expected=(
        Expectation(better="cae-dfkd", worse="cae-dfkd-no-contrast", measure="mnist normalised"),
        Expectation(better="cae-dfkd", worse="cae-dfkd-no-contrast", margin=-1),
        Expectation(better="cae-dfkd", worse="cae-dfkd-no-noise"),
        Expectation(better="cae-dfkd", worse="random-init", measure="mnist probe"),
        Expectation(better="kd-real-data", worse="cae-dfkd"),
    ),
)  # fmt: skip
