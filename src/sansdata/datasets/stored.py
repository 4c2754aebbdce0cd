"""Labelled inputs of any kind in an .npz file: the arrays that their kind stores, and `y`. A run's kept.npz is one."""

from __future__ import annotations

from pathlib import Path

from .. import columns
from ..decoding.arrays import read_array
from ..errors import DataError
from ..kinds.index import input_kind
from ..tasks import Task
from .fit import numbers
from .imageset import check_labels
from .labelled import KindSet
from .npz import whole_numbers


def load_stored(path: Path, task: Task) -> KindSet:
    """The set in `path`: an array for each argument in the kind's signature, and classes `y`, whole numbers (N,).

    Raises DataError for what cannot be found or read, or does not fit the task.
    """
    kind = input_kind(task)
    arrays = {name: read_array(path, name) for name in kind.signature()}
    try:
        packed = kind.from_arrays(arrays)
    except ValueError as fault:
        raise DataError(f"{path}: these are no {kind.unit} of the task: {fault}") from None
    labels = whole_numbers(read_array(path, "y"), f"{path}: 'y'")
    if columns.count(packed) != len(labels) or not len(labels):
        raise DataError(f"{path}: {columns.count(packed)} {kind.unit} but {len(labels)} labels")
    check_labels(labels, task.classes, str(path))
    return KindSet(task, packed, labels, task.class_names or numbers(task.classes), str(path))
