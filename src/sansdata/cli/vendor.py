"""The demo's vendor: trains a teacher on real digits and hands over nothing but its weights."""

from __future__ import annotations

from pathlib import Path

from ..network import Network


def train_vendor_teacher(path: str) -> None:
    """A ResNet-8 on scikit-learn's digits (8x8), written to `path` as plain safetensors."""
    import torch
    from safetensors.torch import save_file

    from ..datasets.images import load_images
    from ..evaluate.labelled import evaluate_model
    from ..models.modes import fixed
    from ..reproduce.supervised import train
    from ..runtime import Runtime
    from ..tasks import KNOWN_TASKS

    torch.set_num_threads(1)  # 8x8 images: a second thread would only wait
    task, runtime = KNOWN_TASKS["digits"], Runtime()
    train_set, held_out = load_images("digits", task, "train"), load_images("digits", task, "test")
    module = train("resnet8", train_set, task, epochs=30, batch=64, lr=0.1, seed=0)
    with fixed(module):
        score = evaluate_model(lambda images: runtime.forward(Network.of(module, task), images).logits, held_out, task)
    save_file({name: value.contiguous() for name, value in module.state_dict().items()}, Path(path))
    print(f"vendor's teacher: {100 * score.accuracy:.1f} % on {score.count} held-out digits -> {path}")
