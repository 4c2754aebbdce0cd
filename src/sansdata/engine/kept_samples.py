"""Some of what a run synthesised, kept beside the student for uses that come later: `sansdata compress` reads it."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
import torch

from .. import columns
from ..columns import Inputs
from ..files import write_atomic
from ..kinds.index import input_kind
from ..memory import Pool, Reservoir
from . import selection
from .run_directory import RunDirectory
from .session import Session


def keep_samples(directory: RunDirectory, session: Session, reservoir: Reservoir, count: int) -> None:
    """Writes at most `count` samples as arrays of the input kind, `y` what the teacher takes each for, and its `logits`
    as their kind keeps them: a file that is also a labelled set. Of images that is images.npz with `x` uint8
    (N, H, W, C)."""
    if count == 0:
        return
    kind, context = input_kind(session.context.task), session.context
    packed = kind.pack(kind.unpack(evenly(synthesised(session, reservoir), count)))  # no more than its file can hold
    answers = selection.answers(context.teacher.network, packed, context)
    arrays = kind.to_arrays(packed)
    if "images" in arrays:
        arrays["x"] = arrays.pop("images")
    outputs = context.teacher.network.outputs
    targets, said = outputs.targets(answers), outputs.pack(answers).numpy()
    write_atomic(directory.path / kind.samples_file, archive({**arrays, "y": targets, "logits": said}))


def archive(arrays: Mapping[str, np.ndarray]) -> bytes:
    """The bytes of an .npz file."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **dict(arrays))  # type: ignore[arg-type]
    return buffer.getvalue()


def synthesised(session: Session, reservoir: Reservoir) -> Inputs:
    """As stored: the method's pool as it was made, or where it has none what the student saw over the run."""
    pools = [part for part in session.method.state().values() if isinstance(part, Pool) and len(part)]
    packed = pools[0].packed() if pools else reservoir.packed
    assert packed is not None
    return packed


def evenly(packed: Inputs, count: int) -> Inputs:
    """At most `count` of stored inputs, spread evenly over them."""
    many = columns.count(packed)
    if many <= count:
        return packed
    return columns.take(packed, torch.linspace(0, many - 1, count).round().long())
