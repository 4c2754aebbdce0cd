"""Clients that a user brings: whose images they train on, and whose they are tested on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...datasets.images import holdout, load_images
from ...datasets.imageset import ImageSet
from ...errors import DataError
from ...federated.partitions import Partition
from ...federated.scores import TestSet
from ...tasks import Task

Images = str | Path | tuple[Any, Any]
"""A known set, a folder of class folders, an .npz file, or (images uint8 (N, H, W, C) or (N, H, W), labels (N,))."""


@dataclass(frozen=True)
class Client:
    """A client of one's own. test: None holds a sixth of `train` out, in the proportions of its classes."""

    train: Images
    test: Images | None = None


Clients = Mapping[str, Client | Images] | Sequence[Client | Images]
"""By the name of their owner, or in order."""


@dataclass(frozen=True)
class Dealt:
    """What every client trains on, who they are, and on what they are tested."""

    train: tuple[ImageSet, ...]
    partition: Partition
    tests: TestSet
    notes: tuple[str, ...] = ()


def own_clients(clients: Clients, task: Task) -> Dealt:
    """clients: at least one. Raises DataError, with the client's name, for images that cannot be read or do not fit the
    task."""
    names = list(clients) if isinstance(clients, Mapping) else [f"client {n}" for n in range(len(clients))]
    members = list(clients.values()) if isinstance(clients, Mapping) else list(clients)
    train, tests = [], []
    for name, one in zip(names, members):
        own = one if isinstance(one, Client) else Client(one)
        images = _images(own.train, task, f"{name}, train")
        if own.test is None:
            if len(images) < 2:
                raise DataError(f"{name} has one image, so that none can be held out; give it a test set: Client(...)")
            images, held = holdout(images, max(1, len(images) // 6), seed=0)
        else:
            held = _images(own.test, task, f"{name}, test")
        train.append(images)
        tests.append(held)
    manifest = {
        "scheme": "own", "clients": [_entry(name, one, task) for name, one in zip(names, train)]
    }  # fmt: skip
    ends = np.cumsum([len(one) for one in tests])
    ids = tuple(np.arange(end - len(one), end) for end, one in zip(ends, tests))
    return Dealt(tuple(train), Partition((), manifest), test_set(tests, ids))


def test_set(tests: Sequence[ImageSet], per_client: tuple[np.ndarray, ...]) -> TestSet:
    """All images of several sets, and which of them are whose."""
    images = np.concatenate([one.images for one in tests])
    labels = np.concatenate([one.labels for one in tests])
    return TestSet(tensor_of(images), torch.from_numpy(labels), per_client)


def tensor_of(images: np.ndarray) -> torch.Tensor:
    """(N, H, W, C) as (N, C, H, W)."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()


def _images(source: Images, task: Task, who: str) -> ImageSet:
    try:
        if isinstance(source, (str, Path)):
            return load_images(source, task, "test" if who.endswith("test") else "train")
        images, labels = (np.asarray(part) for part in source)
        if images.ndim == 3:
            images = images[..., None]
        if labels.dtype.kind in "iu":
            labels = labels.astype(np.int64)
        names = task.names
        made = ImageSet(np.ascontiguousarray(images), labels, names, "arrays")
        made.require_fit(task)
        return made
    except DataError as fault:
        raise DataError(f"{who}: {fault}") from None
    except (TypeError, ValueError):
        raise DataError(
            f"{who}: expected a set's name, a folder, an .npz file or (images, labels), got {type(source).__name__}"
        ) from None


def _entry(name: str, images: ImageSet, task: Task) -> dict[str, Any]:
    digest = hashlib.sha256(images.images.tobytes() + images.labels.tobytes()).hexdigest()
    classes = np.bincount(images.labels, minlength=task.classes).tolist()
    return {"owner": name, "images": len(images), "classes": classes, "sha256": digest}
