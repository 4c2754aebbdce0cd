"""FedGen against FedAvg where clients have few classes each, and once on CIFAR-10."""

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
    tried=(
        "The margins come from a quick re-implementation (62.7 FedAvg, 73.9 released, 66.9 paper); ours gains less "
        "with the same settings. Labels that nobody of the round has are now taught too, which a client forgets "
        "otherwise. No setting was tuned to reach the margins.",
    ),
)  # fmt: skip

_CIFAR = {
    "clients": 10, "active": 5, "rounds": 30,
    "partition": {"scheme": "dirichlet-class", "alpha": 0.1, "share": 0.2},
}  # fmt: skip
_CIFAR_LOCAL = {"local": {"steps": 20, "lr": 0.03}}

FEDGEN_CIFAR10 = Recipe(
    name="fedgen-cifar10",
    claim="FedGen, which its authors did not run on CIFAR-10, is no worse than FedAvg there.",
    data="cifar10",
    task="cifar10",
    teacher=None,
    student="fedgen-cnn",
    experiment="federated",
    arms={
        "small": (
            Arm(name="fedavg", role="floor", method="fedavg", steps=30 * 5 * 20, experiment=_CIFAR,
                options=_CIFAR_LOCAL),
            Arm(name="fedgen-released", role="method", method="fedgen", steps=30 * 5 * 20,
                experiment=_CIFAR | {"preset": "released"}, options=_CIFAR_LOCAL),
        ),
    },
    expected=(Expectation(better="fedgen-released", worse="fedavg"),),
)  # fmt: skip
