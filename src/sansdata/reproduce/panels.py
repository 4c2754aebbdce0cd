"""The panels of the recipes: classifiers of a few classes each, trained once on real images and kept."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydantic

from ..config import Strict, dump_yaml
from ..datasets.fit import fit_shape
from ..datasets.images import load_images
from ..datasets.imageset import ImageSet
from ..files import write_atomic
from ..models.build import architecture_of, build
from ..models.saved import write_model
from ..streams import Streams
from ..tasks import KNOWN_TASKS, ImageTask
from .supervised import train
from .teachers import cache

BATCH, LR = 64, 0.05


class PanelRecipe(Strict):
    """data: a known set, of whose training images the APIs learn. shape: in which all is seen. learnt: the classes that
    APIs know. validation, test: classes that no API knows, on which settings are chosen and figures taken. apis: how
    many, each of `ways` of the learnt classes, drawn with seed 0, trained for `epochs`. networks: zoo networks, in
    turn; scale: a factor on their widths. images: of each class, at most; 0 is all."""

    data: str
    shape: tuple[int, int, int]
    learnt: tuple[int, ...]
    validation: tuple[int, ...] = ()
    test: tuple[int, ...]
    ways: int
    apis: int
    epochs: int
    networks: tuple[str, ...] = ("conv4",)
    scale: float = 1.0
    images: int = pydantic.Field(default=0, ge=0)

    def chosen(self) -> list[list[int]]:
        """The classes of each API; together they know all that are learnt, as far as that goes."""
        random, sets, left = np.random.RandomState(0), [], []
        for _ in range(self.apis):
            if len(left) < self.ways:
                fresh = [int(one) for one in random.permutation(self.learnt) if one not in left]
                left += fresh
            sets.append(left[: self.ways])
            left = left[self.ways :]
        return sets


def ensure_panel(described: PanelRecipe, access: str = "scores") -> Path:
    """The panel.yaml of a recipe; its APIs are trained where they are not there yet."""
    known = hashlib.sha256(described.model_dump_json().encode()).hexdigest()[:16]
    folder = cache() / f"panel-{described.data}-{known}"
    folder.mkdir(parents=True, exist_ok=True)
    data = None
    apis = []
    for number, classes in enumerate(described.chosen()):
        name = f"api{number:02d}"
        file = folder / f"{name}.safetensors"
        if not file.is_file():
            data = data or fit_shape(load_images(described.data, None, "train"), described.shape)
            _train(described, number, classes, data, file)
        apis.append({"name": name, "teacher": file.name, "classes": [str(one) for one in classes]})
    scale = KNOWN_TASKS[described.data].own_preprocessing
    path = folder / f"panel-{access}.yaml"
    write_atomic(path, dump_yaml({"shape": list(described.shape), **scale, "access": access, "apis": apis}).encode())
    return path


def _train(wanted: PanelRecipe, number: int, classes: list[int], data: ImageSet, file: Path) -> None:
    own = _of_classes(data, classes, wanted.images)
    scale: dict[str, Any] = KNOWN_TASKS[wanted.data].own_preprocessing
    task = ImageTask(shape=wanted.shape, classes=len(classes), class_names=own.class_names, **scale)
    architecture = architecture_of(wanted.networks[number % len(wanted.networks)], task)
    architecture["args"]["scale"] = wanted.scale
    with Streams(number).as_global("teacher"):
        module = build(architecture)
    module = train(module, own, task, wanted.epochs, BATCH, LR, view="crop", seed=number)
    write_model(file, module, architecture, task, {"made": "an API of a recipe's panel"})


def _of_classes(data: ImageSet, classes: list[int], most: int) -> ImageSet:
    """The first `most` images of each of these classes, numbered in this order."""
    places = [np.flatnonzero(data.labels == one)[: most or None] for one in classes]
    labels = np.repeat(np.arange(len(classes)), [len(part) for part in places])
    names = tuple(str(one) for one in classes)
    return replace(data, images=data.images[np.concatenate(places)], labels=labels, class_names=names)
