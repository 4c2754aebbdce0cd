"""Distillation from a heap of unrelated images: which of them are worth teaching."""

from .model import Arm, Expectation, Recipe, TeacherRecipe

_POOL = {"near": {"cifar10": 1000}, "contrast": 0.5, "far": {"cifar100": 2000, "fashion-mnist": 2000}}
"""5,000 files, a fifth of them of the teacher's classes but in faded colours."""
_STEPS = 500


def _arm(name: str, role: str, method: str, paper: str = "", **options: object) -> Arm:
    own = {"transfer": {"batch": 64}} | options
    if method == "kd3":
        own = {"steps_per_epoch": 50} | own
    return Arm.model_validate(
        {
            "name": name, "role": role, "method": method, "steps": _STEPS, "preset": "small", "options": own,
            "experiment": _POOL, "paper": paper,
        }
    )  # fmt: skip


KD3 = Recipe(
    name="kd3",
    claim="On a heap of images of which four fifths are unrelated, KD3 teaches more than distillation on the whole "
    "heap and on a random part of it, and its choice favours the related ones.",
    data="cifar10",
    task={
        "kind": "image", "shape": [3, 32, 32], "classes": 10, "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
    },
    teacher=TeacherRecipe(network="resnet20", file="checkpoints/cifar10_resnet/resnet20-12fca82f.th"),
    student="shrink:0.5",
    seeds=10,
    experiment="pool",
    held_out=2000,
    arms={
        "small": (
            _arm("kd3", "method", "kd3", paper="95.21 (table 1, as summarised elsewhere)"),
            _arm("kd3-one-threshold", "ablation", "kd3", floor=0.95),
            _arm("kd3-no-selection", "ablation", "kd3", select="none"),
            _arm("kd3-no-contrast", "ablation", "kd3", contrast=0.0),
            _arm("pool-kd", "floor", "pool-kd"),
            _arm("pool-kd-random-fifth", "floor", "pool-kd", share=0.2),
            _arm("dfnd", "method", "dfnd"),
            _arm("mosaickd", "method", "mosaickd"),
            Arm(
                name="kd-real-data", role="ceiling", method="real-data", steps=_STEPS,
                options={"transfer": {"batch": 64, "temperature": 4.0}},
            ),
        )
    },
    matched="all arms have the same steps, batch, pool and views; MosaicKD's batches hold as many made images besides. "
    "KD3 matches features and has the rate of its preset, the others match logits.",
    expected=(
        Expectation(better="kd3", margin=23, measure="kept near"),
        Expectation(better="kd3-one-threshold", margin=40, measure="kept near"),
        Expectation(better="dfnd", margin=40, measure="kept near"),
        Expectation(better="kd3", worse="pool-kd"),
        Expectation(better="kd3", worse="pool-kd-random-fifth", margin=1),
        Expectation(better="kd3", worse="kd3-no-selection", paper="+4.99 (table 2, as summarised elsewhere)"),
        Expectation(better="kd3", worse="kd3-no-contrast", paper="+0.73 (table 2, as summarised elsewhere)"),
        Expectation(better="mosaickd", worse="pool-kd"),
        Expectation(better="kd-real-data", worse="kd3"),
    ),
    tried=(
        "The pool's related images are of the training images at hand, which the public teacher was trained on, at "
        "half their contrast; the student is judged on the test images.",
        "A first bed, a MNIST teacher before digits of another source and clothes, could not show a choice: that "
        "teacher was surer of clothes, which it took for eights and twos, than of the other digits, whatever the "
        "threshold.",
    ),
)  # fmt: skip
