"""What an arm of a recipe can be: each experiment runs one arm for one seed and measures what it claims."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from ..recipes.model import Arm, Recipe

Experiment = Callable[[Recipe, Arm, int, dict[str, Any], Path], dict[str, Any]]
"""(recipe, arm, seed, teacher, empty folder) -> figures: 'accuracy' in 0..1 or None, 'steps', 'cost' {'samples': ...},
and under 'measures' name -> number as the page shows it (percent where it is a share)."""

EXPERIMENTS = {
    "federated": "a model over clients that share out the set, or their own models",
    "pool": "a student that learned from a folder of unrelated images, and what its method chose from it",
    "distil": "a student, and its accuracy on the test set",
    "compressed": "a student, and what the images are worth for quantizing and pruning trained networks",
    "few-bits": "a student trained at few bits, or rounded afterwards, and what its file weighs",
    "succession": "a student that begins with the images of another's run, and what it costs",
    "transfer": "a student, and what its features are worth on other tasks",
    "over-time": "a student, and its accuracy on the test set at even moments of the run",
    "backdoor": "a student of a poisoned teacher, and how often the trigger works on it",
    "segmentation": "a student that names a class for each pixel, and its mean IoU on the test set",
    "echo": "a recurrent student of a ventricle's masks, on films of a phantom that it never saw",
    "table": "a student of trees that are only asked, and its ranking and agreement on the test rows",
    "fair-rows": "a generator of rows from a fair autoencoder's latents, and a classifier that was trained on them",
    "fair-pictures": "a generator of pictures from a fair autoencoder's latents, and a classifier trained on them",
    "integers": "a network of integers, wrecked and restored, and what calibrates it",
    "texts": "a student of a classifier of texts that a recipe trains, and its agreement on the test texts",
    "one-language": "a classifier of texts cut to one language, and what its students keep",
    "contracts": "a student of a detector of weak smart contracts, on fragments whose bodies nobody has seen",
    "migration": "a detector's student taught further on few fragments of another weakness, beside random weights",
    "written": "a student of texts that a language model wrote, and its accuracy on real ones",
    "written-pairs": "a student of second texts that a language model wrote to first ones, on real pairs",
    "questions": "a reader of questions that a language model wrote to given contexts, on real questions",
    "generator": "a generator in one step, its samples beside real ones and beside its teacher's",
    "steered": "a student of images that a denoiser drew and the teacher steered, and what a judge takes them for",
    "spoken": "a student that hears spoken digits from speech of programs, and its accuracy on real clips",
    "connected": "a recogniser's student with fewer decoder layers, and its word errors on real connected digits",
    "pitch": "a student that hears pitch, and how far it lies from its teacher on frames of real speech",
    "service": "a student of a teacher that is only asked, and how it grows with the queries",
    "few-shot": "a meta model of a panel of APIs, and its accuracy on few-shot tasks of classes that none of them knew",
    "mechanism": "what a method's samples are like, and how soon the teacher knows them",
}
"""Name -> what is done; each is a module of this package with a function `run`."""


def find_experiment(name: str) -> Experiment:
    if name not in EXPERIMENTS:
        raise KeyError(f"no experiment '{name}'; there are {', '.join(EXPERIMENTS)}")
    return import_module(f"{__name__}.{name.replace('-', '_')}").run
