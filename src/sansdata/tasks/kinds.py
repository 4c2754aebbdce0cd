"""The kinds of both sides of a task, ours and those of third parties, and how a side is read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from ..config import validate
from ..errors import TaskError, did_you_mean, first_line
from .classes import ClassesSpec
from .clip import ClipSpec
from .field import FieldSpec
from .image import ImageSpec
from .masks import MasksSpec
from .multilabel import MultilabelSpec
from .noise import NoiseSpec
from .side import Side
from .span import SpanSpec
from .table import TableSpec
from .tokens import TokensSpec, TwoTextsSpec
from .transcripts import TranscriptSpec
from .vectors import VectorsSpec
from .waveform import WaveformSpec
from .ways import WaysSpec

SPECS: Mapping[str, Mapping[str, type[Side]]] = {
    "inputs": {
        "image": ImageSpec, "clip": ClipSpec, "table": TableSpec, "tokens": TokensSpec,
        "two-texts": TwoTextsSpec, "noise": NoiseSpec, "waveform": WaveformSpec,
    },
    "outputs": {
        "classes": ClassesSpec, "masks": MasksSpec, "field": FieldSpec, "vectors": VectorsSpec, "ways": WaysSpec,
        "transcript": TranscriptSpec, "span": SpanSpec, "multilabel": MultilabelSpec,
    },
}  # fmt: skip
GROUP = "sansdata.kinds"
"""Entry points of third parties: name of a kind -> its class, an InputKind or OutputKind with its Spec."""


def side(name: str, fields: Mapping[str, Any], where: str, folder: Path | None = None) -> Side:
    """The Spec of 'inputs' or 'outputs' from its fields, of which 'kind' names the kind. Paths are relative to
    `folder`. Raises TaskError."""
    kind = fields.get("kind")
    if not isinstance(kind, str):
        raise TaskError(f"{where}: '{name}' needs a kind. Known: {', '.join(SPECS[name])}.")
    spec = find_spec(name, kind, where)
    return validate(spec, _rooted(fields, spec.files, folder), f"{where}: {name}", error=TaskError)


def find_spec(name: str, kind: str, where: str = "the task") -> type[Side]:
    """The Spec of a kind on the side `name`. Raises TaskError for an unknown kind or one whose package is broken."""
    if kind in SPECS[name]:
        return SPECS[name][kind]
    return load_kind(name, kind, where).Spec


def load_kind(name: str, kind: str, where: str = "the task") -> Any:
    """The class of a third party's kind on the side `name`. Raises TaskError for an unknown kind, one whose package is
    broken, or one without a Spec."""
    theirs = {entry.name: entry for entry in entry_points(group=GROUP)}
    if kind not in theirs:
        raise TaskError(
            f"{where}: unknown kind of {name} '{kind[:100]}'. {did_you_mean(kind[:100], [*SPECS[name], *theirs])}"
        )
    entry = theirs[kind]
    try:
        kind_class = entry.load()
    except (Exception, SystemExit) as fault:  # a third party's package may raise anything
        raise TaskError(f"{where}: kind '{kind}' of {entry.value} does not load: {first_line(fault)}") from fault
    spec = getattr(kind_class, "Spec", None)
    if not (isinstance(spec, type) and issubclass(spec, Side) and "kind" in spec.model_fields):
        raise TaskError(f"{where}: kind '{kind}' of {entry.value} needs a Spec: a tasks.Side with the field 'kind'")
    return kind_class


def _rooted(fields: Mapping[str, Any], files: Iterable[str], folder: Path | None) -> dict[str, Any]:
    """A file that a task file names lies beside it, unless its path says otherwise."""
    rooted = dict(fields)
    for name in files:
        path = fields.get(name)
        if folder is not None and isinstance(path, str) and path:
            rooted[name] = str((folder / Path(path).expanduser()).resolve())
    return rooted
