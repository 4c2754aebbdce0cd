"""The teacher of spoken digits: a convolutional network that a recipe trains once on real speakers, and keeps."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from .. import columns
from ..datasets.labelled import KindSet
from ..datasets.load import load_set
from ..models.build import architecture_of, build
from ..network import Network
from ..runtime import make_runtime
from ..streams import Streams
from ..tasks import Task
from .teachers import cache, keep_weights

NETWORK = "mel-cnn"
STEPS, BATCH, LR = 400, 64, 5e-3


def ensure_teacher(task: Task, part: str = "train") -> Path:
    """The teacher's file; trained first where it is not there yet. part: 'train', or 'fit' to choose settings by the
    rest of it."""
    path = cache() / f"fsdd-{part}-{NETWORK}.safetensors"
    if not path.is_file():
        print(f"training the teacher {NETWORK} for {STEPS} steps", flush=True)
        module = train_teacher(task, part)
        keep_weights(path, module)
    return path


def real_set(task: Task, part: str) -> KindSet:
    """A part of the real clips."""
    data = load_set("fsdd", task, part)
    assert isinstance(data, KindSet)
    return data


def train_teacher(task: Task, part: str, name: str = NETWORK, seed: int = 0) -> nn.Module:
    """On real clips with their labels, each shifted and of random loudness."""
    data, runtime, streams = real_set(task, part), make_runtime(), Streams(seed)
    with streams.as_global("teacher"):
        module = runtime.place(build(architecture_of(name, task)))
    network, labels = Network.of(module, task), torch.from_numpy(data.labels)
    optimizer = torch.optim.AdamW(module.parameters(), lr=LR, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LR, total_steps=STEPS)
    module.train()
    packed = data.packed
    for step in range(STEPS):
        streams.begin(step)
        ids = torch.randint(len(data), (BATCH,), generator=streams("order"))
        sounds = columns.take(packed, ids)
        assert not isinstance(sounds, torch.Tensor)
        inputs = {"waveform": sounds["waveform"].float() / 32_768, "length": sounds["length"]}
        F.cross_entropy(network(inputs).value, labels[ids]).backward()
        runtime.step(optimizer)
        schedule.step()
    return module.eval()
