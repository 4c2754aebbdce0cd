"""FedFTG on its four hosts."""

from .model import Arm, Expectation, Recipe

_SETTING = {
    "clients": 10, "active": 5, "rounds": 30,
    "partition": {"scheme": "dirichlet-class", "alpha": 0.1, "share": 0.5},
}  # fmt: skip
_STEPS = 30 * 5 * 20
_HOSTS = ("fedavg", "fedprox", "feddyn", "scaffold")
_TUNED = _SETTING | {"preset": "small"}

FEDFTG = Recipe(
    name="fedftg",
    claim="Fine-tuning the average on the server without data improves it, on any of four hosts.",
    data="fashion-mnist",
    task="fashion-mnist",
    teacher=None,
    student="fedgen-cnn",
    experiment="federated",
    arms={
        "small": (
            *(Arm(name=host, role="floor", method=host, steps=_STEPS, experiment=_SETTING) for host in _HOSTS),
            *(
                Arm(name=f"{host}+ftg", role="method", method="fedftg", steps=_STEPS, experiment=_TUNED,
                    options={"host": host})
                for host in _HOSTS
            ),
            Arm(name="fedavg+ftg-even", role="ablation", method="fedftg", steps=_STEPS, experiment=_TUNED,
                options={"distil": {"ensemble": "even"}}),
            Arm(name="fedavg+ftg-no-fidelity", role="ablation", method="fedftg", steps=_STEPS, experiment=_TUNED,
                options={"distil": {"ce": 0.0}}),
        ),
    },
    expected=(
        *(Expectation(better=f"{host}+ftg", margin=0.0, measure="gain of fine-tuning") for host in _HOSTS),
        *(Expectation(better=f"{host}+ftg", worse=host) for host in _HOSTS),
        Expectation(better="fedavg+ftg", worse="fedavg+ftg-even"),
        Expectation(better="fedavg+ftg", worse="fedavg+ftg-no-fidelity"),
    ),
)  # fmt: skip
