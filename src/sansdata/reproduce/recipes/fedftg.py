"""FedFTG where the clients together are far better than their average, and on four hosts where they are not."""

from __future__ import annotations

from typing import Any

from .model import Arm, Expectation, Recipe, Role

_SETTING = {
    "clients": 5, "active": 5, "rounds": 6, "evaluate_every": 1,
    "partition": {"scheme": "dirichlet-class", "alpha": 0.1, "share": 0.2},
}  # fmt: skip
_LOCAL = {"steps": 40, "lr": 0.03}
_STEPS = 6 * 5 * 40
_HOSTS = ("fedavg", "fedprox", "feddyn", "scaffold")
_TUNED = _SETTING | {"preset": "small"}


def _ablation(name: str, **distil: object) -> Arm:
    return Arm(
        name=f"fedavg+ftg-{name}", role="ablation", method="fedftg", steps=_STEPS, experiment=_TUNED,
        options={"on": {"local": _LOCAL}, "distil": distil},
    )  # fmt: skip


FEDFTG = Recipe(
    name="fedftg",
    claim="Fine-tuning the average on the server without data improves it in the first rounds, on any of four hosts. A "
    "small network, whose clients together are soon no better than their average: where the premise ends.",
    data="mnist",
    task="mnist",
    teacher=None,
    student="lenet5",
    seeds=10,
    experiment="federated",
    arms={
        "small": (
            *(
                Arm(name=host, role="floor", method=host, steps=_STEPS, experiment=_SETTING, options={"local": _LOCAL})
                for host in _HOSTS
            ),
            *(
                Arm(name=f"{host}+ftg", role="method", method="fedftg", steps=_STEPS, experiment=_TUNED,
                    options={"host": host, "on": {"local": _LOCAL}})
                for host in _HOSTS
            ),
            _ablation("even", ensemble="even"),
            _ablation("no-fidelity", ce=0.0),
            _ablation("no-hard", hard=0.0),
        ),
    },
    expected=(
        *(Expectation(better=f"{host}+ftg", measure="gain of fine-tuning") for host in _HOSTS),
        *(Expectation(better=f"{host}+ftg", measure="gain of fine-tuning, last 3") for host in _HOSTS),
        *(Expectation(better=f"{host}+ftg", worse=host) for host in _HOSTS),
        Expectation(better="fedavg+ftg", worse="fedavg+ftg-even"),
        Expectation(better="fedavg+ftg", worse="fedavg+ftg-no-fidelity"),
        Expectation(better="fedavg+ftg", worse="fedavg+ftg-no-hard"),
    ),
    tried=(
        "On Fashion-MNIST with the BatchNorm network (10 clients, 5 active, alpha 0.05, 20 rounds) fine-tuning lost "
        "0 to 3.5 points a round.",
        "On held-out images, from one state (MNIST, alpha 0.3): +3 to +9 points where the average had 49 %, -1.5 to 0 "
        "where it had 82 %, as much as the mean of the clients' predictions. 40 iterations in place of 10 lost 5 to "
        "10 points.",
        "With 5 of 10 clients active some rounds lost 10 points; with all active none did.",
        "Without decay of the rate the gain was 9 to 14 points in the first round and -3 to 0 from the sixth on; "
        "with lr_decay 0.7 it is 9 to 14 there and -1 to 4 in the last three.",
        "The hard-sample term hurts here, as on held-out images (+7 with it, +9 without, from one state). It "
        "stays on, because it is the paper's.",
    ),
)  # fmt: skip

_ROUNDS = 8
_BED = {
    "clients": 5, "active": 5, "rounds": _ROUNDS, "evaluate_every": 1, "batch_norm": "group",
    "partition": {"scheme": "dirichlet-class", "alpha": 0.1},
}  # fmt: skip
_LOCAL_HERE = {"steps": 20, "lr": 0.05, "lr_decay": 0.9}
_STEPS_HERE = _ROUNDS * 5 * 20


def _tuned(name: str, role: Role, seeds: int | None = None, norm: str = "group", **distil: Any) -> Arm:
    """Preset `small` with slower decay, written out: what a figure hangs on is among its arm's settings."""
    settings = {"ce": 5.0, "lr_decay": 0.9, "transfer": {"lr": 0.003}} | distil
    return Arm(
        name=name, role=role, method="fedftg", steps=_STEPS_HERE, experiment=_BED | {"batch_norm": norm}, seeds=seeds,
        options={"on": {"local": _LOCAL_HERE}, "distil": settings}, revision=1,
    )  # fmt: skip


FEDFTG_DIGITS = Recipe(
    name="fedftg-digits",
    claim="Where the clients together know far more than their average, fine-tuning the average without data makes it "
    "better, in every round and in the end.",
    data="digits",
    task="digits",
    teacher=None,
    student="resnet8",
    experiment="federated",
    arms={
        "small": (
            Arm(name="fedavg", role="floor", method="fedavg", steps=_STEPS_HERE, experiment=_BED, seeds=6,
                options={"local": _LOCAL_HERE}),
            _tuned("fedavg+ftg", "method", seeds=6),
            _tuned("fedavg+ftg-no-hard", "ablation", seeds=6, hard=0.0),
            _tuned("fedavg+ftg-even", "ablation", ensemble="even"),
            _tuned("fedavg+ftg-no-fidelity", "ablation", ce=0.0),
            _tuned("fedavg+ftg, BatchNorm", "ablation", norm="average"),
        ),
    },
    matched="clients, their images, rounds and every client's steps, rate and batches.",
    expected=(
        Expectation(better="fedavg+ftg", measure="ensemble above average"),
        Expectation(better="fedavg+ftg", measure="gain of fine-tuning"),
        Expectation(better="fedavg+ftg", measure="gain of fine-tuning, last 3"),
        Expectation(better="fedavg+ftg", worse="fedavg"),
        Expectation(better="fedavg+ftg", worse="fedavg+ftg-no-hard"),
        Expectation(better="fedavg+ftg", worse="fedavg+ftg-even"),
        Expectation(better="fedavg+ftg", worse="fedavg+ftg-no-fidelity"),
        Expectation(better="fedavg+ftg", worse="fedavg+ftg, BatchNorm", measure="gain of fine-tuning"),
    ),
    tried=(
        "On held-out images, one seed: with averaged BatchNorm statistics the clients together are 31 points above the "
        "average in the first round and 4 in the eighth, and fine-tuning gains 4 points in the first, and -2 to 3 "
        "later; with the released weight of fidelity, 1, one round lost 12 points; with 20 iterations, a slower "
        "generator, a rate of 0.01 and no hard samples, -7 to 1. With GroupNorm in its place it gains 3 to 5 points in "
        "every one of six rounds: what fine-tuning could not mend were the averaged statistics.",
    ),
)  # fmt: skip
