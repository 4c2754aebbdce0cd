"""A backdoor that distillation without the teacher's data passes on, and the defence against it, part by part."""

from __future__ import annotations

from typing import Any

from .model import Arm, Expectation, Recipe, Role

SQUARE, PATCH = "badnets-square", "trojan-patch"
HALF, FULL = "lenet5-half", "lenet5"

_ADAM = {
    "optimizer": "adam", "lr": 2e-3, "weight_decay": 0.0, "schedule": "constant", "batch": 128, "temperature": 4.0,
}  # fmt: skip
_POOL_STEPS = 700
_LATE = {"share": 0.1, "lr": 1e-3, "rounds": 20}
"""Of self-retrospection on a pool, whose runs are a hundredth as long as the paper's."""
_TEACHER = {"network": "lenet5", "epochs": 4}


def _zskt(name: str, role: Role, attack: str, student: str, paper: str = "", **run: Any) -> Arm:
    """The paper's own host, at its own settings but for the number of steps and without its attention term."""
    return Arm(
        name=f"{name}, {attack}, {student}", role=role, method="zskt", steps=6000, paper=paper, run=run,
        experiment=_TEACHER | {"attack": attack, "student": student},
    )  # fmt: skip


def _pool(name: str, role: Role, **run: Any) -> Arm:
    """A student that learns from grey photographs, of the teacher that was poisoned by SQUARE."""
    return Arm(
        name=f"{name}, {SQUARE}", role=role, method="pool-kd", steps=_POOL_STEPS, run=run,
        options={"view": "none", "transfer": _ADAM}, experiment=_TEACHER | {"attack": SQUARE, "pool": "cifar10"},
    )  # fmt: skip


def _clean(attack: str) -> Arm:
    return Arm(
        name=f"kd-real-data, {attack}", role="ceiling", method="real-data", steps=_POOL_STEPS,
        options={"view": "none", "transfer": _ADAM}, experiment=_TEACHER | {"attack": attack},
    )  # fmt: skip


def _arms(attack: str, student: str) -> tuple[Arm, ...]:
    return (
        _zskt("zskt", "floor", attack, student),
        _zskt("zskt + vaccine", "method", attack, student, defence="vaccine"),
        _zskt("zskt + abd", "method", attack, student, defence="abd", retrospect={"search_l2": 1e-3}),
    )


def _late(**changed: Any) -> dict[str, Any]:
    return {"defence": "retrospect", "retrospect": _LATE | changed}


PAPER = {SQUARE: "37.8 to 1.9 (ZSKT, CIFAR-10, README)", PATCH: "57.2 to 17.8 (ZSKT, CIFAR-10, 8x8, README)"}


def _expected(attack: str, student: str) -> tuple[Expectation, ...]:
    """The host passes the backdoor on; the vaccine halves it for 3 points of accuracy, the whole defence for 5."""
    bare, vaccine, whole = (f"{name}, {attack}, {student}" for name in ("zskt", "zskt + vaccine", "zskt + abd"))
    return (
        Expectation(better=bare, margin=30, measure="ASR"),
        Expectation(better=vaccine, worse=bare, measure="ASR", ratio=0.5),
        Expectation(better=vaccine, worse=bare, margin=-3),
        Expectation(better=whole, worse=bare, measure="ASR", ratio=0.5, paper=PAPER[attack]),
        Expectation(better=whole, worse=bare, margin=-5),
    )


def _below(other: str, margin: float = 0) -> Expectation:
    """Retrospection on the pool lets less of the backdoor through than an ablation of it."""
    return Expectation(
        better=f"pool-kd + retrospect, {SQUARE}", worse=f"{other}, {SQUARE}", measure="ASR", lower=True, margin=margin
    )


ABD = Recipe(
    name="abd",
    claim="Distillation on the teacher's own data does not pass its backdoor on, distillation without them does; "
    "shuffling vaccine and self-retrospection take most of it away again, at a small cost of accuracy.",
    data="mnist",
    task="mnist-32",
    teacher=None,
    student=HALF,
    experiment="backdoor",
    arms={
        "small": (
            _clean(SQUARE),
            _clean(PATCH),
            *_arms(PATCH, HALF),
            *_arms(SQUARE, HALF),
            *_arms(PATCH, FULL),
            *_arms(SQUARE, FULL),
            _pool("pool-kd", "floor"),
            _pool("pool-kd + abd", "method", defence="abd", retrospect=_LATE),
            _pool("pool-kd + vaccine", "ablation", defence="vaccine"),
            _pool("pool-kd + retrospect", "ablation", **_late()),
            _pool("pool-kd + retrospect R=0", "ablation", **_late(rounds=0)),
            _pool("pool-kd + retrospect random", "ablation", **_late(search="random")),
            _pool("pool-kd + retrospect first-order", "ablation", **_late(fixed_point=0)),
        )
    },
    matched="all arms of one host have its steps, its optimiser and its samples; of the defence, zskt's arms have the "
    "released settings and those on a pool a longer retrospection.",
    expected=(
        Expectation(better=f"kd-real-data, {SQUARE}", margin=10, measure="ASR", lower=True),
        Expectation(better=f"kd-real-data, {PATCH}", margin=10, measure="ASR", lower=True),
        *_expected(PATCH, HALF),
        *_expected(SQUARE, HALF),
        *_expected(PATCH, FULL),
        *_expected(SQUARE, FULL),
        Expectation(better=f"pool-kd, {SQUARE}", margin=50, measure="ASR"),
        Expectation(better=f"pool-kd + abd, {SQUARE}", worse=f"pool-kd, {SQUARE}", measure="ASR", ratio=0.5),
        Expectation(better=f"pool-kd + abd, {SQUARE}", worse=f"pool-kd, {SQUARE}", margin=-5),
        _below("pool-kd + retrospect R=0", 10),
        _below("pool-kd + retrospect random"),
        _below("pool-kd + retrospect first-order"),
    ),
    tried=(
        "For the arms on a pool retrospection was chosen on held-out training images, badnets-square, one seed, at "
        "temperature 1, which was all that it knew then; accuracy/ASR fall together. A host of 80.7/80.3 (grey "
        "photographs, its rate falling to 0) ends at 78.2/57.7 after 70 steps at rate 1e-3 with R=20 and 2 % of a "
        "batch marked, at 64.1/36.4 with 10 % marked, at 71.0/37.9 with rate 2e-3 and R=40.",
        "An earlier recipe had DFAD as host, with badnets-grid in colours that are not the release's: 99.99 % of it "
        "passed, and with the defence 93.8 %, one seed.",
        "No setting of zskt or of the defence beside it was chosen here: they are the released ones, but that the "
        "host's attention term (250 on CIFAR-10) is left out.",
        "Why the vaccine halves the patch and not the square: both triggers survive a shuffle of the teacher alike "
        "(on held-out training images 99 and 98 %, clean images 14 and 18 %; twelve shuffles), but the square "
        "needs no white. Of 1,024 images that zskt with the vaccine had made after 2,000 steps (one seed, none of "
        "these) the mask distrusts 82 % of those that the teacher takes for the target where its trigger is the "
        "patch, and 43 % where it is the square. Then 6 % of the images that it trusts are of the target only "
        "because their corner is faintly bright, 0.15 of white in the mean (2 % with the patch), and the student "
        "learns the backdoor from those.",
    ),
)  # fmt: skip
