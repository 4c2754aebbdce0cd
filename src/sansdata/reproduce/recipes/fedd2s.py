"""FedD2S, the reconstruction, against clients alone and FedAvg."""

from .model import Arm, Expectation, Recipe

_SETTING = {
    "clients": 10, "active": 10, "rounds": 15, "evaluate_every": 5,
    "partition": {"scheme": "dirichlet-class", "alpha": 0.5, "share": 0.01},
}  # fmt: skip
_LOCAL = {"steps": 10, "lr": 0.05, "lr_decay": 1.0, "momentum": 0.9}
_MUTUAL = {"local": _LOCAL, "temperature": 3.0, "client_weight": 0.3}
_STEPS = 15 * 10 * 10
_PERSONAL = _SETTING | {"score": "personal"}

FEDD2S = Recipe(
    name="fedd2s",
    claim="Clients with about 60 images each gain from exchanging features, deep layers first (reconstruction).",
    data="fashion-mnist",
    task="fashion-mnist",
    teacher=None,
    student="cnn5",
    experiment="federated",
    arms={
        "small": (
            Arm(name="local-only", role="floor", method="fedd2s", steps=_STEPS, experiment=_PERSONAL,
                options={"local": _LOCAL, "client_weight": 0.0, "server_epochs": 1}),
            Arm(name="fedavg", role="floor", method="fedavg", steps=_STEPS, experiment=_SETTING | {"score": "clients"},
                options={"local": _LOCAL}),
            Arm(name="fedd2s", role="method", method="fedd2s", steps=_STEPS, experiment=_PERSONAL,
                options=_MUTUAL | {"every": 3}),
            Arm(name="fixed-deepest", role="ablation", method="fedd2s", steps=_STEPS, experiment=_PERSONAL,
                options=_MUTUAL | {"cuts": [5]}),
            Arm(name="shallow-to-deep", role="ablation", method="fedd2s", steps=_STEPS, experiment=_PERSONAL,
                options=_MUTUAL | {"cuts": [1, 2, 3, 4, 5], "every": 3}),
        ),
    },
    expected=(
        Expectation(better="fedd2s", worse="local-only"),
        Expectation(better="fedd2s", worse="fedavg"),
        Expectation(better="fedd2s", worse="local-only", measure="personal, std", lower=True),
        Expectation(better="fedd2s", worse="fedavg", measure="personal"),
        Expectation(better="fedd2s", worse="fixed-deepest"),
        Expectation(better="fedd2s", worse="shallow-to-deep"),
    ),
)  # fmt: skip
