"""Labelled inputs of any kind in an .npz file: the arrays that their kind stores, and what is true of them as `y`. A
run's kept.npz is one."""

from __future__ import annotations

from pathlib import Path

from ..decoding.arrays import read_array
from ..errors import DataError
from ..kinds.index import input_kind
from ..tasks import Task
from .labelled import KindSet
from .npz import whole_numbers


def load_stored(path: Path, task: Task) -> KindSet:
    """The set in `path`: an array for each argument in the kind's signature, and `y`: of classes whole numbers (N,), of
    another kind of output its targets (N, ...).

    Raises DataError for what cannot be found or read, or does not fit the task.
    """
    kind = input_kind(task)
    arrays = {name: read_array(path, name) for name in kind.signature()}
    try:
        packed = kind.from_arrays(arrays)
    except ValueError as fault:
        raise DataError(f"{path}: these are no {kind.unit} of the task: {fault}") from None
    labels, names = read_array(path, "y"), ()
    if task.pair[1] == "classes":
        labels, names = whole_numbers(labels, f"{path}: 'y'"), task.names
    if not labels.ndim or not len(labels):
        raise DataError(f"{path}: 'y' has the shape {labels.shape}; expected a row for each of the {kind.unit}")
    stored = KindSet(task, packed, labels, names, str(path))
    stored.require_fit(task)
    return stored
