"""Choosing a student without data: snapshots over the run, scored together on images that the teacher alone gave."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from ..contracts import Context
from ..files import write_atomic
from ..memory import dequantise
from ..models.modes import fixed
from ..objectives import agreement
from ..objectives.logits import kl

RESERVOIR = 1024
"""Images kept of the whole run; a score of 90 % on them is good to about 2 points."""
BATCH = 256
MARGIN = 0.02
"""By how much an earlier snapshot must score higher than the last: less is chance on so few images."""


def save_snapshot(directory: Path, step: int, student: nn.Module) -> None:
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in student.state_dict().items()}
    write_atomic(directory / f"step-{step:09d}.safetensors", save_tensors(tensors))


def snapshots(directory: Path) -> list[tuple[int, Path]]:
    """(step, file) in the order they were taken."""
    return [(int(path.stem.split("-")[1]), path) for path in sorted(directory.glob("step-*.safetensors"))]


def answers(model: nn.Module, images: Tensor, context: Context) -> Tensor:
    """(N, K) logits of `model`, in eval mode, on uint8 images; not counted: this is watching, not distilling."""
    with torch.no_grad(), fixed(model):
        parts = [
            context.runtime.forward(model, context.task, batch).logits.cpu() for batch in _batches(images, context)
        ]
    return torch.cat(parts)


def _batches(images: Tensor, context: Context) -> Iterator[Tensor]:
    for part in images.split(BATCH):
        yield context.runtime.place(dequantise(part))


def score(
    student: nn.Module, directory: Path, images: Tensor, probes: Tensor, context: Context
) -> list[dict[str, float]]:
    """Per snapshot `step`; beside the teacher `score`, `probe_agreement` on probes, `agreement`, `kl` on samples.

    images, probes: uint8 (N, C, H, W). The score is the overlap of the class probabilities, the agreements the share on
    which both name the same class, 0..1; balanced over the classes the teacher sees, so that a collapsed generator is
    no success. The student is left with the last snapshot.
    """
    module = context.teacher.module
    on_samples, on_probes = answers(module, images, context), answers(module, probes, context)
    rows = []
    for step, path in snapshots(directory):
        student.load_state_dict(load_tensors(path.read_bytes()))
        seen, probed = answers(student, images, context), answers(student, probes, context)
        rows.append(
            {
                "step": step,
                "score": agreement.balanced_overlap(probed, on_probes),
                "probe_agreement": agreement.balanced_agreement(probed, on_probes),
                "agreement": agreement.balanced_agreement(seen, on_samples),
                "kl": kl(seen, on_samples).mean().item(),
            }
        )
    return rows


def preferred(rows: Sequence[Mapping[str, float]], by: str) -> Mapping[str, float]:
    """The last snapshot, unless an earlier one is clearly higher `by` 'score' or 'agreement'; `rows` in their order."""
    best = max(rows, key=lambda row: row[by])
    return best if best[by] > rows[-1][by] + MARGIN else rows[-1]
