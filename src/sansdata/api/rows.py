"""Synthetic rows of a generator of latents: a table that anybody can read, and its schema."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Generator, Tensor

from ..config import dump_yaml
from ..engine.run_directory import RunDirectory, at
from ..errors import ConfigError, StudentError, TeacherError
from ..evaluate.labelled import finite
from ..files import reason, user_path, write_atomic
from ..kinds.index import input_kind
from ..models.modes import borrowed, fixed, usual_modes
from ..network import Network
from ..tasks import Task
from ..teachers.autoencoder import ENCODES, AutoEncoder
from ..teachers.autoencoder.decoding import Made, decoded, rule_of
from ..teachers.base import Teacher
from ..teachers.specs import load_teacher
from .outputs import require_free
from .result import Result, TaskLike, asked

AT_ONCE = 10_000
MOST = 10_000_000


@dataclass(frozen=True)
class RowsWritten:
    """What `write_rows` made."""

    file: Path
    schema: Path
    count: int
    rule: str
    made: Made
    model: AutoEncoder

    def by_group(self) -> dict[str, float]:
        """Group -> share of its rows that have the good class, of those groups that have rows."""
        good, groups = self.made.labels == self.model.positive, self.made.groups
        names = enumerate(self.model.sensitive.names)
        return {name: float(good[groups == at].float().mean()) for at, name in names if bool((groups == at).any())}


@usual_modes()
def write_rows(
    model: str | Path | Result,
    teacher: str | Teacher,
    out: str | Path,
    *,
    count: int = 20_000,
    rule: str = "neutral",
    proxies: Sequence[str] = (),
    task: TaskLike = None,
    seed: int = 0,
) -> RowsWritten:
    """Draws `count` latents of the generator, decodes them by the teacher's decoder and writes them to `out` (.csv),
    with the table's task beside it (.yaml).

    model: a run directory or a Result of fair4free. teacher: the autoencoder whose latents it learnt. rule: which
    group a row is decoded for, one of teachers.autoencoder.decoding.RULES. proxies: columns that must not see the
    group, for the rule neutral; 'all' is every column. Raises ConfigError, also where either file is there already;
    StudentError, TeacherError.
    """
    file = user_path(out)
    if file.suffix.lower() != ".csv":
        raise ConfigError(f"--out {file}: rows are written as a .csv file")
    if not 1 <= count <= MOST:
        raise ConfigError(f"count={count}: expected 1 to {MOST:,} rows")
    schema = file.with_suffix(".yaml")
    require_free(file, schema)
    about = asked(model, task)
    encoder = encoder_of(teacher, about.task, about.run_dir)
    chosen, stream = rule_of(rule, proxies, encoder), torch.Generator().manual_seed(seed)
    with borrowed(about.module):
        latents = draw_latents(about.network, about.task, count, stream)
    made = decoded(encoder, latents, chosen, stream)
    table = encoder.bins.task
    try:
        write_atomic(file, as_csv(table, made).encode())
        write_atomic(schema, dump_yaml(table.model_dump(mode="json")).encode())
    except OSError as fault:
        raise ConfigError(f"{file}: cannot be written ({reason(fault)})") from None
    return RowsWritten(file, schema, count, rule, made, encoder)


def draw_latents(network: Network, task: Task, count: int, stream: Generator) -> Tensor:
    """(count, Z) on the CPU. Raises StudentError where some are not finite."""
    kind, parts = input_kind(task), []
    with torch.no_grad(), fixed(network.module):
        for start in range(0, count, AT_ONCE):
            latents = network(kind.draw(min(AT_ONCE, count - start), stream)).value.cpu()
            parts.append(finite(latents, "the generator", StudentError))
    return torch.cat(parts)


def encoder_of(teacher: str | Teacher, task: Task, run: Path | None = None) -> AutoEncoder:
    """The autoencoder behind a teacher of the generator's task. Raises TeacherError where it is none, or is another
    than the one that the run learnt from."""
    loaded = load_teacher(teacher, task) if isinstance(teacher, str) else teacher
    if ENCODES not in loaded.capabilities:
        raise TeacherError(f"{loaded.source}: is no autoencoder, whose decoder would make rows of latents")
    if run is not None:
        require_own(loaded, run)
    return loaded.capability(ENCODES)


def require_own(teacher: Teacher, run: Path) -> None:
    """Raises TeacherError where the run says that it learnt the latents of another autoencoder."""
    learnt = at(RunDirectory(run).manifest(), "teacher", "fingerprint")
    if isinstance(learnt, str) and learnt != teacher.fingerprint():
        raise TeacherError(
            f"{teacher.source}: the run {run} learnt the latents of another autoencoder, which this decoder would make "
            "nonsense of. Give the teacher that the run was distilled from"
        )


def as_csv(table: Task, made: Made) -> str:
    """With a header line; an empty field where a value is missing. Columns stand in the order of the task, the class
    last."""
    spec, rows = table.inputs, made.rows
    names = table.names
    texts: list[list[str]] = []
    for column in spec.columns:
        among = spec.numbers if column.numeric else spec.categories
        place = [one.name for one in among].index(column.name)
        gone = rows["missing"][:, place + (0 if column.numeric else len(spec.numbers))].tolist()
        if column.numeric:
            shown = [f"{value:.0f}" if column.whole else f"{value:.6g}" for value in rows["numbers"][:, place].tolist()]
        else:
            shown = [column.levels[level] for level in rows["categories"][:, place].tolist()]
        texts.append(["" if missing else text for text, missing in zip(shown, gone)])
    texts.append([names[label] for label in made.labels.tolist()])
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([*(column.name for column in spec.columns), table.outputs.column or "class"])
    writer.writerows(zip(*texts))
    return buffer.getvalue()
