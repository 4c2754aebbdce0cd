"""How far a deployed model's inputs and scores have moved: only aggregates are compared, and only they leave."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from .. import columns
from ..columns import Inputs
from ..datasets.load import load_set
from ..decoding.image_pool import load_pool
from ..deploy.bundle_writer import Source
from ..errors import ConfigError, DataError, SansdataError
from ..evaluate.aggregates import FEWEST, Aggregates, aggregate, is_aggregates, plain, read_aggregates
from ..evaluate.drift import Drift, drifts
from ..evaluate.snapshots import predictor
from ..files import is_regular, reason, user_path, write_json
from ..kinds.index import input_kind
from ..models.modes import borrowed, usual_modes
from ..network import Network
from ..runtime import Runtime
from ..tasks import Task
from ..teachers.bundle import archive, layout
from ..teachers.bundle.verify import verify
from .outputs import require_free

SYNTHETIC = 512
"""Inputs on which a reference is counted where nobody gives one."""
BATCH = 256


@dataclass(frozen=True)
class Monitored:
    """now: the aggregates that were compared. reference: those of the bundle, or what was given in their place."""

    now: Aggregates
    reference: Aggregates
    drifts: tuple[Drift, ...]

    @property
    def flagged(self) -> bool:
        return any(one.flagged for one in self.drifts)


@usual_modes()
def monitor(
    bundle: str | Path,
    data: str | Path | None = None,
    aggregates: str | Path | None = None,
    reference: str | Path | None = None,
    out: str | Path | None = None,
) -> Monitored:
    """Compares what a bundle's model meets now with the bundle's reference.

    data: inputs of the house, counted here: images need no labels, other kinds are read as `evaluate` reads them.
    aggregates: counts that were made before, instead. reference: aggregates in place of the bundle's own, such as those
    of the house's validation. out: a file for the aggregates of `data`, which can be compared with this reference and
    be one later, for it has bins of its own too; earlier ones give way.

    Raises BundleError, DataError, ConfigError where neither or both of data and aggregates are given, or where `out` is
    any other file.
    """
    if (data is None) == (aggregates is None):
        raise ConfigError("give --data DATA, to be counted here, or --aggregates FILE, counted before; and not both")
    target = None if out is None else user_path(out)
    if target is not None:
        require_free(target, ours=is_aggregates)
    checked = verify(bundle)
    known = _reference_of(Path(bundle)) if reference is None else read_aggregates(Path(reference))
    if aggregates is not None:
        now = read_aggregates(Path(aggregates))
    else:
        predict = predictor(Network.of(checked.module, checked.task), checked.task, Runtime())
        thresholds = checked.description.vendor.thresholds
        batches = _batches(str(data), checked.task)
        name = Path(str(data)).name
        now = aggregate(predict, batches, checked.task, known, thresholds, name, finer=target is not None)
    if target is not None:
        try:
            write_json(target, plain(now))
        except OSError as fault:
            raise ConfigError(f"--out {target} cannot be written ({reason(fault)})") from None
    return Monitored(now, known, tuple(drifts(known, now)))


def with_reference(source: Source, file: Path | None, thresholds: Mapping[str, float]) -> Source:
    """A source with the aggregates of a file, or with those of synthetic inputs: what its run made, else noise."""
    if file is not None:
        return replace(source, reference=plain(read_aggregates(file)))
    batches, what = _synthetic(source)
    with borrowed(source.module):  # the golden test is computed in its own layout
        predict = predictor(Network.of(source.module, source.task), source.task, Runtime())
        counted = aggregate(predict, batches, source.task, None, thresholds, what)
    return replace(source, reference=plain(counted))


def _synthetic(source: Source) -> tuple[list[Inputs], str]:
    kind = input_kind(source.task)
    samples = None if source.file is None else source.file.parent / kind.samples_file
    if samples is not None and is_regular(samples):
        try:
            batches = [batch for batch, _ in load_set(samples, source.task).batches(BATCH)]
            if sum(map(columns.count, batches)) >= FEWEST:
                return batches, "synthetic inputs of the run"
        except SansdataError:  # of a kind that keeps no labels
            pass
    drawn = kind.draw(SYNTHETIC, torch.Generator().manual_seed(0))
    return columns.split(drawn, BATCH), "noise"


def _reference_of(bundle: Path) -> Aggregates:
    with archive.opened(bundle) as folder:
        if not (folder / layout.REFERENCE).is_file():
            raise DataError(f"{bundle}: has no {layout.REFERENCE}; give aggregates to compare with (--reference)")
        return read_aggregates(folder / layout.REFERENCE)


def _batches(data: str, task: Task) -> Iterator[Inputs]:
    """Inputs as they travel. Images come without labels: nobody has them where a model runs."""
    if task.pair[0] == "image" and Path(data).exists():
        try:
            pool = load_pool(data, task.shape)
        except DataError as fault:
            raise DataError(str(fault).replace("--pool", "--data")) from None  # the same reader, by another flag
        for part in torch.arange(len(pool)).split(BATCH):
            yield pool.at(part)
        return
    for batch, _ in load_set(data, task).batches(BATCH):
        yield batch
