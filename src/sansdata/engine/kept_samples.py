"""Some of what a run synthesised, kept beside the student for uses that come later: `sansdata compress` reads it."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
from torch import Tensor

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
    (N, H, W, C). Where answers cannot be compared, `y` is what the method made each sample for."""
    if count == 0:
        return
    kind, context = input_kind(session.context.task), session.context
    made, targets = synthesised(session, reservoir)
    packed = kind.pack(kind.fitted(kind.unpack(columns.evenly(made, count))))  # no more than its file can hold
    arrays = kind.to_arrays(packed)
    if "images" in arrays:
        arrays["x"] = arrays.pop("images")
    outputs = context.teacher.network.outputs
    if outputs.comparable:
        answers = selection.answers(context.teacher.network, packed, context)
        arrays |= {"y": outputs.targets(answers), "logits": outputs.pack(answers).numpy()}
    elif targets is not None:
        arrays["y"] = columns.parts(columns.evenly(targets, count))[0].numpy()
    write_atomic(directory.path / kind.samples_file, archive(arrays))


def archive(arrays: Mapping[str, np.ndarray]) -> bytes:
    """The bytes of an .npz file."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **dict(arrays))  # type: ignore[arg-type]
    return buffer.getvalue()


def synthesised(session: Session, reservoir: Reservoir) -> tuple[Inputs, Tensor | None]:
    """As stored: the method's pool as it was made and its targets, or where it has none what the student saw over the
    run."""
    pools = [part for part in session.method.state().values() if isinstance(part, Pool) and len(part)]
    if not pools or pools[0].targets is None:
        assert reservoir.packed is not None
        return reservoir.packed, None
    packed, targets = pools[0].packed(), pools[0].targets[: len(pools[0])]
    assert packed is not None
    return packed, targets
