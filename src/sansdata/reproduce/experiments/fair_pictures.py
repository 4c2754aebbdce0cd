"""Synthetic pictures of a fair autoencoder's latents: how well, and how much by colour, a classifier that was trained
on them judges real test pictures whose colour says nothing.

The sensitive attribute is planted: a colour, which knows the class in the training pictures (`coloured`). The
autoencoder is trained once for a seed and its settings. Of an arm's `experiment`: autoencoder (settings of it), rule
(of the decoding), and draws, where latents are drawn by the teacher itself in one of its modes ('prior') and no student
is trained. The method 'real-pictures' is a classifier of the training pictures. 'accuracy' is the classifier's.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...api.distill import distill
from ...api.picture_autoencoder import PictureAutoencoderSettings, fit_picture_autoencoder, unit_pictures
from ...api.pictures import draw_picture_latents
from ...datasets.imageset import ImageSet
from ...evaluate.fair_rows import LabelledRows, latent_aucs, served
from ...network import Network
from ...tasks import ImageTask
from ...teachers.autoencoder import (
    PictureAutoEncoder,
    load_picture_autoencoder,
    picture_task_of,
    save_picture_autoencoder,
)
from ...teachers.autoencoder.decoding import rule_of
from ...teachers.autoencoder.pictures import decoded_pictures
from ..coloured import COLOURS, Coloured, coloured
from ..recipes.model import Arm, Recipe
from ..supervised import train
from ..teachers import cache
from .fair_rows import Drawn, of_student

PICTURES, EPOCHS, LR = 10_000, 4, 0.05
"""Real and made ones that a classifier learns, and how."""
RARE = 0.2
"""Of the training pictures; half of the test pictures."""
BATCH = 500


def run(recipe: Recipe, arm: Arm, seed: int, teacher: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The figures of one arm; the test pictures are opened once, after the last step."""
    training = _training(recipe.data, seed)
    if arm.method == "real-pictures":
        return _figures(recipe, training.pictures, {}, seed, arm.steps, {"samples": len(training.pictures)})
    path = ensure_autoencoder(recipe.data, arm.experiment.get("autoencoder", {}), seed)
    model, stream = load_picture_autoencoder(path), torch.Generator().manual_seed(seed)
    if (source := arm.experiment.get("draws")) is not None:
        drawn = Drawn(model.latents(source, PICTURES, stream), {"samples": PICTURES}, {})
    else:
        drawn = _drawn_by_student(recipe.student, recipe.threads, json.dumps(arm.options), arm.steps, seed, path)
    made = decoded_pictures(model, drawn.latents, rule_of(arm.experiment.get("rule", "neutral"), (), model), stream)
    pictures = ImageSet(made.images.numpy(), made.labels.numpy(), model.class_names, "made")
    measures = drawn.measures | _aucs(recipe.data, path, seed) | {"label DPR": _ratio(made.labels, made.groups, model)}
    return _figures(recipe, pictures, measures, seed, arm.steps, drawn.cost)


def ensure_autoencoder(data: str, settings: dict[str, Any], seed: int) -> Path:
    """Its file; trained first where it is not there."""
    chosen = PictureAutoencoderSettings.model_validate(settings)
    written = json.dumps(chosen.model_dump(mode="json"), sort_keys=True)
    name = f"{data}-dyed-{PICTURES}-{hashlib.sha256(written.encode()).hexdigest()[:12]}-{seed}.safetensors"
    path = cache() / name
    if not path.is_file():
        learnt = _training(data, seed)
        names = learnt.pictures.class_names
        model = fit_picture_autoencoder(learnt.pictures, learnt.groups, tuple(COLOURS), names, chosen, seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        save_picture_autoencoder(path, model)
    return path


@lru_cache(maxsize=8)
def _drawn_by_student(student: str, threads: int, options: str, steps: int, seed: int, path: Path) -> Drawn:
    """A strict run of fair4free with these options (JSON), which arms that differ in the rule alone have in common."""
    model = load_picture_autoencoder(path)
    with tempfile.TemporaryDirectory() as folder:
        result = distill(
            str(path), student, "fair4free", f"{steps}steps", Path(folder) / "run", seed, task=picture_task_of(model),
            strict=True, options=json.loads(options),
            settings={"threads": threads, "device": "cpu", "engine": {"snapshots": 1, "sample_grids": 1}},
        )  # fmt: skip
        stream = torch.Generator().manual_seed(seed)
        latents = draw_picture_latents(result.student, model.latent, PICTURES, stream)
        return Drawn(latents, result.cost, of_student(result))


@lru_cache(maxsize=2)
def _training(data: str, seed: int) -> Coloured:
    return coloured(data, "train", RARE, seed).at(np.random.default_rng(seed).permutation(50_000)[:PICTURES])


@lru_cache(maxsize=8)
def _aucs(data: str, path: Path, seed: int) -> dict[str, float]:
    """How well group and class can be read from latents of the training pictures."""
    training, model = _training(data, seed), load_picture_autoencoder(path)
    latents = model.sampled(unit_pictures(training.pictures).float().div(255), torch.Generator().manual_seed(seed + 1))
    group, label = latent_aucs(latents, training.groups, training.pictures.labels)
    return {"s-AUC of z": group, "class AUC of z": label}


def _figures(
    recipe: Recipe, pictures: ImageSet, measures: dict[str, float], seed: int, steps: int, cost: dict[str, Any]
) -> dict[str, Any]:
    """Of a classifier of `pictures`. rare colour, usual colour: accuracy in percent on test pictures whose colour was
    rare or usual for their class; colour gap: the difference. DPR, EOR: of being taken for one of the second half."""
    real = coloured(recipe.data, "test", 0.5, seed)
    classes = real.pictures.class_names
    task = ImageTask(
        shape=pictures.shape, classes=len(classes), mean=(0.2,) * 3, std=(0.3,) * 3, class_names=classes
    )  # fmt: skip
    network = Network.of(train("lenet5", pictures, task, EPOCHS, lr=LR, seed=seed), task)
    inputs = unit_pictures(real.pictures).float().div(255)
    with torch.no_grad():
        shares = torch.cat([network(part).logits.softmax(1) for part in inputs.split(BATCH)])
    right = (shares.argmax(1) == torch.from_numpy(real.pictures.labels)).double()
    half = (len(classes) + 1) // 2
    late = torch.from_numpy(real.pictures.labels) >= half
    usual = real.groups == late.long()
    side = LabelledRows(np.empty((len(right), 0)), late.numpy(), real.groups.numpy(), torch.empty(len(right), 0))
    fair = served((shares.argmax(1) >= half).numpy(), shares[:, half:].sum(1).numpy(), side)
    rare_accuracy, usual_accuracy = (100 * float(right[which].mean()) for which in (~usual, usual))
    shown = {
        "colour gap": usual_accuracy - rare_accuracy, "rare colour": rare_accuracy, "usual colour": usual_accuracy,
        "DPR": fair["dpr"], "EOR": fair["eor"],
    }  # fmt: skip
    return {"accuracy": float(right.mean()), "steps": steps, "cost": cost, "measures": shown | measures}


def _ratio(labels: Tensor, groups: Tensor, model: PictureAutoEncoder) -> float:
    """The lower over the higher share of the second half of the classes among the made pictures of each group."""
    late = labels >= (len(model.class_names) + 1) // 2
    rates = [float(late[groups == group].double().mean()) for group in range(len(model.names))]
    return min(rates) / max(rates) if max(rates) > 0 else 1.0
