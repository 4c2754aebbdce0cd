"""An autoencoder as its owner hands it over: both halves, and what the file holds of the latents of real data; of a
table the bins of the columns too."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pydantic
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from ...config import Strict
from ...errors import TeacherError
from ...kinds.inputs.table_bins import TableBins
from ...models.device import device_of
from ...models.fair_vae import FairVAE

ENCODES = "encodes"
"""The name of the capability in `Requirements.capabilities`."""
MODES = ("prior", "moments", "cycle", "latent-bank")
"""Where a student's targets come from. prior: the standard normal distribution. moments: a mixture of Gaussians fitted
to the latents of real rows, a summary. cycle: what the encoder says of rows that were decoded from the prior.
latent-bank: latents of real rows themselves, which are data."""


class Sensitive(Strict):
    """The sensitive column. groups: its levels, those of one group together; names: of the groups; shares: of each
    level of the column among real rows, in the column's order."""

    column: str
    groups: tuple[tuple[str, ...], ...] = pydantic.Field(min_length=2)
    names: tuple[str, ...]
    shares: tuple[float, ...]


@dataclass(frozen=True)
class Moments:
    """A mixture of K Gaussians in Z dimensions. weights (K,), means (K, Z), factors (K, Z, Z): lower triangles whose
    squares are the covariances."""

    weights: Tensor
    means: Tensor
    factors: Tensor

    def moved(self, noise: Tensor) -> Tensor:
        """(B, Z): standard normal noise (B, Z) as draws of the mixture, the same noise always as the same draw. The
        first number of a noise chooses the component; what is left of it is standard normal again."""
        share = 0.5 * (1 + torch.erf(noise[:, 0].double() / 2**0.5))
        ends = self.weights.double().cumsum(0).to(noise.device)
        which = torch.searchsorted(ends, share.contiguous()).clamp_max(len(ends) - 1)
        start = F.pad(ends, (1, 0))[which]
        left = ((share - start) / self.weights.double().to(noise.device)[which]).clamp(1e-7, 1 - 1e-7)
        first = 2**0.5 * torch.erfinv(2 * left - 1)
        fresh = torch.cat([first[:, None].to(noise.dtype), noise[:, 1:]], 1)
        return self.means.to(noise)[which] + (self.factors.to(noise)[which] @ fresh[:, :, None]).squeeze(2)


@dataclass(frozen=True)
class Bank:
    """Latents of real rows: latents (N, Z), groups (N,) int64. Personal data."""

    latents: Tensor
    groups: Tensor


class LatentSource(ABC):
    """Where a student's latents come from, whatever they are of."""

    vae: nn.Module
    moments: Moments | None
    bank: Bank | None
    source: str
    names: tuple[str, ...]
    """Of the groups."""
    columns: tuple[str, ...]
    """What a decoded sample has beside its class, where that is columns."""

    @property
    @abstractmethod
    def latent(self) -> int:
        """Z."""

    @property
    @abstractmethod
    def shares(self) -> Tensor:
        """(G,) of each group among real data."""

    @abstractmethod
    def cycled(self, count: int, stream: Generator) -> tuple[Tensor, Tensor]:
        """(latents (count, Z), their groups (count,)): drawn from the prior, decoded, encoded again."""

    @property
    def modes(self) -> tuple[str, ...]:
        """Those that the file has what they need for."""
        lacking = {"moments": self.moments is None, "latent-bank": self.bank is None}
        return tuple(mode for mode in MODES if not lacking.get(mode, False))

    def latents(self, mode: str, count: int, stream: Generator) -> Tensor:
        """(count, Z) on the CPU, drawn as one of `modes` says."""
        if mode == "latent-bank" and self.bank is not None:
            return self.bank.latents[torch.randint(len(self.bank.latents), (count,), generator=stream)]
        if mode == "cycle":
            return self.cycled(count, stream)[0]
        noise = torch.randn(count, self.latent, generator=stream)
        if mode == "moments" and self.moments is not None:
            return self.moments.moved(noise)
        if mode == "prior":
            return noise
        raise TeacherError(f"{self.source}: holds nothing for the mode '{mode}'. It has: {', '.join(self.modes)}")


@dataclass
class AutoEncoder(LatentSource):
    """positive: the class that it is good to be given. provenance: how it was trained, as its owner wrote it."""

    vae: FairVAE
    bins: TableBins
    sensitive: Sensitive
    positive: int
    moments: Moments | None = None
    bank: Bank | None = None
    source: str = "made in Python"
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def latent(self) -> int:
        """Z."""
        return self.vae.decoder[0].in_features - len(self.sensitive.groups)  # type: ignore[union-attr, operator]

    @property
    def columns(self) -> tuple[str, ...]:  # type: ignore[override]
        return tuple(column.name for column in self.bins.columns)

    # -- the sensitive column

    @property
    def names(self) -> tuple[str, ...]:  # type: ignore[override]
        return self.sensitive.names

    @cached_property
    def levels(self) -> tuple[str, ...]:
        """Of the sensitive column."""
        return next(c.levels for c in self.bins.task.inputs.columns if c.name == self.sensitive.column)

    @cached_property
    def group_of_level(self) -> Tensor:
        """(levels,) int64."""
        return groups_of(self.levels, self.sensitive.groups)

    @cached_property
    def shares(self) -> Tensor:
        """(G,) of each group among real rows."""
        counted = torch.zeros(len(self.sensitive.groups))
        return counted.index_add_(0, self.group_of_level, torch.tensor(self.sensitive.shares))

    def levels_in(self, groups: Tensor, stream: Generator) -> Tensor:
        """(N,) a level of the sensitive column for each group (N,), as frequent within it as among real rows."""
        within = torch.tensor(self.sensitive.shares)[None] * (
            self.group_of_level[None] == torch.arange(len(self.sensitive.groups))[:, None]
        )
        return torch.multinomial(within[groups] + 1e-12 * (within[groups] > 0), 1, generator=stream).squeeze(1)

    # -- both halves

    def encode(self, codes: Tensor, groups: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance (N, Z) on the CPU, of rows as `codes` of the bins and their groups (N,)."""
        device = device_of(self.vae)
        with torch.no_grad():
            mean, logvar = self.vae.encode(self.bins.one_hot(codes).to(device), self._members(groups))
        return mean.cpu(), logvar.cpu()

    def sampled(self, codes: Tensor, groups: Tensor, stream: Generator) -> Tensor:
        """(N, Z) draws of the latents of these rows."""
        mean, logvar = self.encode(codes, groups)
        return mean + (logvar / 2).exp() * torch.randn(mean.shape, generator=stream)

    def probabilities(self, latents: Tensor, groups: Tensor) -> list[Tensor]:
        """Of each column, the class last, (N, bins) on the CPU."""
        with torch.no_grad():
            logits = self.vae.decode(latents.to(device_of(self.vae)), self._members(groups)).cpu()
        return [head.softmax(1) for head in self.bins.heads(logits)]

    def _members(self, groups: Tensor) -> Tensor:
        return F.one_hot(groups, len(self.sensitive.groups)).float().to(device_of(self.vae))

    def cycled(self, count: int, stream: Generator) -> tuple[Tensor, Tensor]:
        groups = torch.multinomial(self.shares, count, replacement=True, generator=stream)
        shares = self.probabilities(torch.randn(count, self.latent, generator=stream), groups)
        return self.sampled(drawn(shares, stream), groups, stream), groups


def drawn(shares: Sequence[Tensor], stream: Generator) -> Tensor:
    """(N, columns) int64: a bin of each column by its probabilities (N, bins)."""
    return torch.cat([torch.multinomial(share, 1, generator=stream) for share in shares], 1)


def groups_of(levels: Sequence[str], groups: Sequence[Sequence[str]]) -> Tensor:
    """(levels,) int64: the group of each level. Raises TeacherError where one is in none or in two."""
    places = [[place for place, group in enumerate(groups) if level in group] for level in levels]
    if any(len(one) != 1 for one in places) or {name for group in groups for name in group} != set(levels):
        raise TeacherError(f"the groups {[list(group) for group in groups]} must share out the levels {list(levels)}")
    return torch.tensor([one[0] for one in places])
