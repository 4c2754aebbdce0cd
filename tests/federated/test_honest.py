"""No honest client is refused, however little its images are like those of the others."""

from __future__ import annotations

import pytest
import torch
from tiny import CLASSES
from tiny_clients import make_data, make_run

from sansdata.federated.data import ClientData
from sansdata.federated.index import FEDERATED

LOCALS = {
    "steps": {"steps": 6}, "epochs": {"epochs": 1, "momentum": 0.5}, "clipped": {"clip": 0.5, "weight_decay": 0.1},
}  # fmt: skip


def skewed() -> list[ClientData]:
    """One class each, 1 to 90 images; one client's are all black, one's all white, one's labels are wrong."""
    random = torch.Generator().manual_seed(5)
    made = []
    for client, size in enumerate((1, 2, 30, 90, 20, 20)):
        images = make_data(client, size).images
        made.append(ClientData(images, torch.full((size,), client % CLASSES)))
    made[4] = ClientData(torch.zeros_like(made[4].images), made[4].labels)
    made[5] = ClientData(torch.full_like(made[5].images, 255), torch.randint(CLASSES, (20,), generator=random))
    return made


@pytest.mark.parametrize("method", FEDERATED)
@pytest.mark.parametrize(("local", "batch_norm"), [("steps", "average"), ("epochs", "local"), ("clipped", "frozen")])
def test_skewed_clients_are_all_taken(method, batch_norm, local):
    options = {"on": {"local": LOCALS[local]}} if method == "fedftg" else {"local": LOCALS[local]}
    if method == "fedgen":
        options["teach"] = options["latent"] = 1.0  # at weight 10 these clients diverge, and say so
    run = make_run(method, options, clients=6, active=6, batch_norm=batch_norm)
    run.data = skewed()
    for _ in range(3):
        line = run.run_round()
        assert line["refused"] == []
        assert line["taken"] == 6


@pytest.mark.long
@pytest.mark.parametrize("scheme", [{"scheme": "shards", "shards": 1}, {"scheme": "quantity", "alpha": 0.2},
                                    {"scheme": "dirichlet-class", "alpha": 0.05}])  # fmt: skip
@pytest.mark.parametrize("network", ["fedgen-cnn", "cnn5"])
@pytest.mark.parametrize("method", [name for name in FEDERATED if name != "fedftg"])
def test_skewed_partitions_of_digits(method, network, scheme):
    from sansdata.api.federate.world import prepare
    from sansdata.federated.settings import FederateSettings

    options = {"local": {"steps": 20, "lr": 0.02}} | ({"teach": 1.0, "latent": 1.0} if method == "fedgen" else {})
    settings = FederateSettings.model_validate({
        "data": "digits", "method": method, "clients": 8, "active": 8, "rounds": 5, "network": network, "threads": 1,
        "partition": scheme | {"smallest": 1}, "options": options,
    })  # fmt: skip
    run = prepare(settings).run
    assert [run.run_round()["refused"] for _ in range(5)] == [[]] * 5
