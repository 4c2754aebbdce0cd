"""MixMix's claim at small scale: images of several networks, mixed, against those of one, for three uses."""

from .model import Arm, Expectation, Recipe, TeacherRecipe

_USES = {"quantize": {"teacher": [4, 3], "wrn-16-1": [4]}, "prune": ["teacher"], "keep": 0.2, "steps": 40}
_ALL = _USES | {"helpers": ["wrn-16-1"]}
_STEPS = 300
_BATCHES = {"steps_per_batch": 75}
"""Four batches of 128 images are inverted in a run."""

MIXMIX = Recipe(
    name="mixmix",
    claim="Images that two networks recognise, pasted into one another, serve distillation, 4-bit calibration and "
    "pruning better than those of one network, at the same number of passes.",
    data="fashion-mnist",
    task="fashion-mnist",
    teacher=TeacherRecipe(network="resnet8", epochs=8),
    helpers=(TeacherRecipe(network="wrn-16-1", epochs=1),),
    student="shrink:0.5",
    experiment="compressed",
    arms={
        "small": (
            Arm(
                name="mixmix", role="method", method="mixmix", preset="small", steps=_STEPS, options=_BATCHES,
                experiment=_ALL,
            ),
            Arm(
                name="single-model", role="ablation", method="deepinversion", preset="small", steps=_STEPS,
                options=_BATCHES, experiment=_USES,
            ),
            Arm(
                name="feature-mixing-only", role="ablation", method="mixmix", preset="small", steps=_STEPS,
                options=_BATCHES | {"box": [0, 0]}, experiment=_ALL,
            ),
            Arm(
                name="noise-gaussian", role="floor", method="noise", steps=_STEPS, experiment=_USES,
                options={"transfer": {"batch": 128}},
            ),
            Arm(
                name="real-data", role="ceiling", method="real-data", steps=_STEPS, experiment=_USES,
                options={"transfer": {"batch": 128}},
            ),
        )
    },
    expected=(
        Expectation(better="mixmix", worse="single-model", margin=1),
        Expectation(better="mixmix", worse="single-model", measure="teacher w4a4"),
        Expectation(better="mixmix", worse="single-model", measure="teacher w3a3"),
        Expectation(better="mixmix", worse="single-model", measure="wrn-16-1 w4a4"),
        Expectation(better="mixmix", worse="single-model", measure="teacher pruned"),
        Expectation(better="mixmix", worse="single-model", measure="teacher recovered"),
        Expectation(better="mixmix", worse="real-data", measure="teacher w4a4", margin=-1.5),
        Expectation(better="mixmix", worse="noise-gaussian", measure="teacher w4a4"),
        Expectation(better="mixmix", worse="noise-gaussian", measure="teacher pruned"),
        Expectation(better="mixmix", worse="noise-gaussian", margin=10),
    ),
)  # fmt: skip
