"""The settings of a federated run, without those of its method. No torch here: a wrong key answers at once."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pydantic

from ..config import Options, Strict, Text, plain

BatchNorm = Literal["average", "local", "frozen", "group"]
Scheme = Literal[
    "dirichlet-class", "dirichlet-class-capped", "dirichlet-client", "shards", "quantity", "iid", "natural"
]


class PartitionSettings(Strict):
    """How the training images are dealt out.

    scheme: 'dirichlet-class' cuts each class by proportions ~ Dir(alpha) over clients (Hsu, FedGen, NIID-bench);
    'dirichlet-class-capped' first keeps of every class no more images than a client has on average, as FedGen's
    released code does where share is below 1: its limit on a client is one on a class too, and what is above it is
    dealt to nobody.
    'dirichlet-client' draws each client's own class mix ~ Dir(alpha) and fills equal shares (FedDyn, FedFTG): not the
    same thing at the same alpha. 'shards' sorts by label and gives each client `shards` pieces (McMahan). 'quantity'
    is even in classes, sizes ~ Dir(alpha). 'natural' is one client per speaker, writer or other owner in the set.
    smallest: images that every client must have. share: of the training set that is dealt out.
    """

    scheme: Scheme = "dirichlet-class"
    alpha: float = pydantic.Field(default=0.1, gt=0, le=1e6)
    shards: int = pydantic.Field(default=2, ge=1)
    smallest: int = pydantic.Field(default=10, ge=1)
    share: float = pydantic.Field(default=1.0, gt=0, le=1)


class FederateSettings(Strict):
    """One federated run. `options` are the method's own settings, checked by the method.

    network: a zoo name, timm:NAME or package.module:function, with random weights. active: clients of a round.
    batch_norm: what becomes of BatchNorm's running statistics. 'average': they travel and are averaged like weights.
    'local': every client keeps its own; the server averages those it is sent for its own model only. 'frozen': they
    stay as the server first sent them, and clients use them in training too. 'group': GroupNorm in place of BatchNorm.
    """

    data: Text
    task: Annotated[str | dict[str, Any], pydantic.BeforeValidator(plain)] = ""
    network: Text = "fedgen-cnn"
    method: Text = "fedavg"
    preset: Text = "default"
    clients: int = pydantic.Field(default=20, ge=1, le=100_000)
    active: int | None = pydantic.Field(default=None, ge=1, description="of each round; None is half of them")
    rounds: int = pydantic.Field(default=50, ge=1)
    partition: PartitionSettings = PartitionSettings()
    batch_norm: BatchNorm = "average"
    evaluate_every: int = pydantic.Field(default=5, ge=1)
    checkpoint_every: int = pydantic.Field(default=5, ge=1)
    test_per_client: int = pydantic.Field(default=200, ge=1, description="test images in each client's own class mix")
    holdout: int = pydantic.Field(default=0, ge=0, description="images of the training set to test on instead")
    local_only: bool = pydantic.Field(default=True, description="at the end, also train each client by itself")
    seed: int = pydantic.Field(default=0, ge=0, lt=2**31)
    device: Text = "auto"
    threads: int = pydantic.Field(default=0, ge=0, le=1024)
    options: Options = pydantic.Field(default_factory=dict)

    @property
    def active_clients(self) -> int:
        return max(1, self.clients // 2) if self.active is None else self.active

    @pydantic.model_validator(mode="after")
    def _fits(self) -> FederateSettings:
        if self.active is not None and self.active > self.clients:
            raise ValueError(f"active is {self.active}, but there are only {self.clients} clients")
        return self
