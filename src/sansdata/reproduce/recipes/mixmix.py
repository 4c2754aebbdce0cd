"""MixMix's claim at small scale: images of several networks, mixed, against those of one, for networks never asked."""

from .mnist_10x10 import TASK
from .model import Arm, Expectation, Recipe, TeacherRecipe

_UNSEEN = "resnet14"
_USES = {
    "quantize": {"teacher": [3], _UNSEEN: [4, 3]}, "prune": ["teacher", _UNSEEN], "keep": 0.1, "steps": 40,
    "judges": [_UNSEEN],
}  # fmt: skip
_ALL = _USES | {"helpers": ["wrn-16-1"]}
_STEPS = 400
_IMAGES = {
    "iterations": 200, "bn": 0.5, "jitter": 1, "view": "crop", "steps_per_batch": 100,
}  # fmt: skip
"""Four batches of 128 images are inverted in a run, each iteration with one pass of one network."""
_MIXED = _IMAGES | {"models": 1, "box": [0.1, 0.3]}


def _arm(name: str, role: str, method: str, options: dict[str, object], uses: dict[str, object] = _USES) -> Arm:
    return Arm.model_validate(
        {
            "name": name, "role": role, "method": method, "steps": _STEPS, "options": options, "experiment": uses,
            "preset": "default" if method in ("noise", "real-data") else "small",
        }
    )  # fmt: skip


MIXMIX = Recipe(
    name="mixmix",
    claim="Images that two networks recognise, pasted into one another, serve a third network and distillation better "
    "than those of one network, at the same number of passes.",
    data="mnist",
    task=TASK,
    teacher=TeacherRecipe(network="resnet8", epochs=2),
    helpers=(TeacherRecipe(network="wrn-16-1", epochs=1), TeacherRecipe(network=_UNSEEN, epochs=1)),
    student="shrink:0.5",
    experiment="compressed",
    arms={
        "small": (
            _arm("mixmix", "method", "mixmix", _MIXED, _ALL),
            _arm("single-model", "ablation", "deepinversion", _IMAGES),
            _arm("feature-mixing-only", "ablation", "mixmix", _MIXED | {"box": [0, 0]}, _ALL),
            _arm("data-mixing-only", "ablation", "mixmix", _MIXED),
            _arm("noise-gaussian", "floor", "noise", {"transfer": {"batch": 128}}),
            _arm("real-data", "ceiling", "real-data", {"view": "crop", "transfer": {"batch": 128}}),
        )
    },
    expected=(
        Expectation(better="mixmix", worse="single-model", measure="resnet14 agrees", margin=5),
        Expectation(better="mixmix", worse="single-model", margin=1),
        Expectation(better="mixmix", worse="feature-mixing-only"),
        Expectation(better="mixmix", worse="data-mixing-only"),
        Expectation(better="mixmix", worse="noise-gaussian", margin=10),
        Expectation(better="mixmix", worse="single-model", measure="resnet14 w3a3"),
        Expectation(better="mixmix", worse="single-model", measure="resnet14 pruned"),
        Expectation(better="mixmix", worse="single-model", measure="resnet14 recovered"),
        Expectation(better="mixmix", worse="real-data", measure="resnet14 w4a4", margin=-1.5),
        Expectation(better="mixmix", worse="noise-gaussian", measure="resnet14 w4a4"),
        Expectation(better="mixmix", worse="noise-gaussian", measure="resnet14 pruned"),
    ),
)  # fmt: skip
