"""FedGen against FedAvg where clients have few classes each."""

from .model import Arm, Expectation, Recipe

_SETTING = {
    "clients": 10, "active": 5, "rounds": 40,
    "partition": {"scheme": "dirichlet-class", "alpha": 0.05, "share": 0.5},
}  # fmt: skip
_STEPS = 40 * 5 * 20

FEDGEN = Recipe(
    name="fedgen",
    claim="Features that a generator makes by class help clients with few classes, and only once it is trained.",
    data="fashion-mnist",
    task="fashion-mnist",
    teacher=None,
    student="fedgen-cnn",
    experiment="federated",
    arms={
        "small": (
            Arm(name="fedavg", role="floor", method="fedavg", steps=_STEPS, experiment=_SETTING,
                paper="87.70 (FedGen, table 1, MNIST)"),
            Arm(name="fedgen-released", role="method", method="fedgen", steps=_STEPS,
                experiment=_SETTING | {"preset": "released"}, paper="91.30 (FedGen, table 1, MNIST)"),
            Arm(name="fedgen-paper", role="method", method="fedgen", steps=_STEPS,
                experiment=_SETTING | {"preset": "paper"}),
            Arm(name="fedgen-untrained", role="ablation", method="fedgen", steps=_STEPS,
                experiment=_SETTING | {"preset": "released"}, options={"generator_steps": 0}),
        ),
    },
    expected=(
        Expectation(better="fedgen-released", worse="fedavg", margin=5),
        Expectation(better="fedgen-paper", worse="fedavg", margin=1.5),
        Expectation(better="fedavg", worse="fedgen-untrained", margin=3),
    ),
)  # fmt: skip
