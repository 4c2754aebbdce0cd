"""Choosing a student without data: snapshots over the run, scored together on samples from the whole run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

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


def score(student: nn.Module, directory: Path, images: Tensor, context: Context) -> dict[str, Any]:
    """Agreement of every snapshot with the teacher on the same uint8 images (N, C, H, W), and which is best.

    Agreement is balanced over the classes the teacher sees, so that a collapsed generator does not look like success.
    """
    teacher = answers(context.teacher.module, images, context)
    rows = []
    for step, path in snapshots(directory):
        student.load_state_dict(load_tensors(path.read_bytes()))
        logits = answers(student, images, context)
        rows.append(
            {
                "step": step,
                "agreement": agreement.balanced_agreement(logits, teacher),
                "kl": kl(logits, teacher).mean().item(),
            }
        )
    best = max(rows, key=lambda row: (row["agreement"], -row["kl"]))
    return {"snapshots": rows, "best_step": best["step"], "scored_on": len(images)}
