"""Choosing a student without data: snapshots over the run, scored together on inputs that the teacher alone gave."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from .. import columns
from ..columns import Inputs
from ..files import by_step, is_regular, read_regular, write_atomic
from ..kinds.base import OutputKind
from ..kinds.index import input_kind
from ..method import Context
from ..models.limits import MAX_FILE_BYTES
from ..models.modes import fixed
from ..network import Network

RESERVOIR = 1024
"""Samples kept of the whole run; a score of 90 % on them is good to about 2 points."""
BATCH = 256
FEWEST, MOST_NUMBERS = 64, 2**22
"""Of the answers to a whole reservoir, an eighth in a batch: of masks, which are large, fewer samples are kept."""
MARGIN = 0.02
"""By how much an earlier snapshot must score higher than the last: less is chance on so few samples."""


def save_snapshot(directory: Path, step: int, student: nn.Module) -> None:
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in student.state_dict().items()}
    write_atomic(directory / f"step-{step:09d}.safetensors", save_tensors(tensors))


def snapshots(directory: Path) -> list[tuple[int, Path]]:
    """(step, file) in the order they were taken."""
    return [(step, path) for step, path in by_step(directory, ".safetensors") if is_regular(path)]


def restore(module: nn.Module, snapshot: Path) -> bool:
    """Puts a snapshot into `module`; False, and the module is not to be used, where it is none of this network."""
    try:
        module.load_state_dict(load_tensors(read_regular(snapshot, MAX_FILE_BYTES)))
    except (OSError, SafetensorError, ValueError, TypeError, KeyError, RuntimeError):
        return False
    return True


def capacity(outputs: OutputKind) -> int:
    """How many samples of a run are kept to score snapshots on."""
    return max(FEWEST, min(RESERVOIR, MOST_NUMBERS // outputs.numbers))


def answers(network: Network, packed: Inputs, context: Context) -> Tensor:
    """The answers of `network`, in eval mode, to stored inputs; not counted: this is watching, not distilling."""
    kind, batch = input_kind(context.task), max(1, min(BATCH, MOST_NUMBERS // 8 // network.outputs.numbers))
    with torch.no_grad(), fixed(network.module):
        parts = [
            context.runtime.forward(network, context.runtime.place(kind.unpack(part))).value.cpu()
            for part in columns.split(packed, batch)
        ]
    return torch.cat(parts)


def score(
    directory: Path, student: Network, samples: Inputs, probes: Inputs, context: Context,
    validate: Callable[[nn.Module], float | None] = lambda module: None,
) -> list[dict[str, float]]:  # fmt: skip
    """Per snapshot `step`; `validation` where the method has a measure of its own; beside the teacher `score`,
    `probe_agreement` on probes, `agreement`, `kl` on samples.

    A file that is none of this student's is left out. samples, probes: as they are stored. What the numbers mean is the
    output kind's business; of classes the score is the overlap of the probabilities, the agreements the share on which
    both name the same class, 0..1. Where the kind cannot tell how close two answers are, only the steps are given. The
    student, the network that the snapshots are of, is left with the last one.
    """
    teacher, kind = context.teacher.network, student.outputs
    if kind.compares:
        on_samples, on_probes = answers(teacher, samples, context), answers(teacher, probes, context)
    rows = []
    for step, path in snapshots(directory):
        if not restore(student.module, path):
            continue
        row: dict[str, float] = {"step": step}
        if (own := validate(student.module)) is not None:
            row["validation"] = own
        rows.append(row)
        if not kind.compares:
            continue
        close = kind.agreement(answers(student, samples, context), on_samples)
        probed = kind.agreement(answers(student, probes, context), on_probes)
        if close is not None and probed is not None:
            row |= {
                "score": probed["overlap"], "probe_agreement": probed["agreement"],
                "agreement": close["agreement"], "kl": close["kl"],
            }  # fmt: skip
    return rows


def preferred(rows: Sequence[Mapping[str, float]], by: str) -> Mapping[str, float]:
    """The last snapshot, unless an earlier one is clearly higher `by` 'score' or 'agreement'; `rows` in their order."""
    if by not in rows[-1]:
        return rows[-1]
    best = max(rows, key=lambda row: row[by])
    return best if best[by] > rows[-1][by] + MARGIN else rows[-1]
