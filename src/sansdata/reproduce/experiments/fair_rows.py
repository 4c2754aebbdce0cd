"""Synthetic rows of a fair autoencoder's latents: how fair and how good is a classifier that was trained on them, on
the real test rows.

The autoencoder is trained once for a seed and its settings, on the real training rows. Of an arm's `experiment`:
autoencoder (settings of it), rule and proxies (of the decoding), and draws, where latents are drawn by the teacher
itself in one of its modes ('prior') or are those of real rows ('real') and no student is trained. Other methods:
'real-rows' is a classifier of the real training rows, 'constant' names one class for all, 'reductions' is fairlearn's
exponentiated gradient for demographic parity on real rows, which knows both rows and groups. 'accuracy' is the
classifier's.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...api.autoencoder import AutoencoderSettings, fit_autoencoder, latent_aucs, latents_of_rows
from ...api.distill import distill
from ...api.result import Result
from ...api.rows import draw_latents
from ...datasets.labelled import KindSet
from ...datasets.load import load_set
from ...evaluate import fair_rows
from ...evaluate.fair_rows import LabelledRows, labelled_rows
from ...evaluate.generated_rows import measured_rows
from ...network import Network
from ...tasks import load_task
from ...teachers.autoencoder import AutoEncoder, load_autoencoder, save_autoencoder, task_of
from ...teachers.autoencoder.base import Bank
from ...teachers.autoencoder.decoding import decoded, rule_of
from ..recipes.model import Arm, Recipe
from ..teachers import cache

ROWS = 20_000
SENSITIVE = {"adult": ("sex", ">50K"), "german-credit": ("personal-status=A92", "1")}
"""Data -> (the sensitive column, women against men; the good class)."""


def run(recipe: Recipe, arm: Arm, seed: int, teacher: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The figures of one arm; the test rows are opened once, after the last step."""
    training = _set(recipe, "train")
    path = ensure_autoencoder(recipe, training, arm.experiment.get("autoencoder", {}), seed)
    model = load_autoencoder(path)
    if arm.method in ("real-rows", "constant", "reductions"):
        learnt, real = (_rows(model, _set(recipe, split)) for split in ("train", "test"))
        measured = OTHERS[arm.method](model, learnt, real, seed)
        return figures(measured, {}, arm.steps, {"samples": len(learnt)})
    stream = torch.Generator().manual_seed(seed)
    source, cost = arm.experiment.get("draws"), {"samples": ROWS}
    of_run: dict[str, float] = {}
    if source == "real":
        latents, _ = latents_of_rows(model, training, seed)
        latents = latents[torch.randint(len(latents), (ROWS,), generator=stream)]
    elif source is not None:
        latents = model.latents(source, ROWS, stream)
    else:
        if arm.options.get("handover") == "latent-bank":
            path = folder / "with-bank.safetensors"
            model.bank = Bank(*latents_of_rows(model, training, seed))
            save_autoencoder(path, model)
        result = distilled(recipe, arm, seed, path, model, folder / "run")
        cost, of_run = result.cost, _of_student(result)
        latents = draw_latents(Network.of(result.student, result.task), result.task, ROWS, stream)
    rule = rule_of(arm.experiment.get("rule", "neutral"), arm.experiment.get("proxies", ()), model)
    made = decoded(model, latents, rule, stream)
    learnt, real = _rows(model, training), _rows(model, _set(recipe, "test"))
    measured = measured_rows(made, model, real, learnt)
    group, label = latent_aucs(*latents_of_rows(model, training, seed), training.labels)
    return figures(measured, of_run | {"s-AUC of z": group, "class AUC of z": label}, arm.steps, cost)


def figures(measured: dict[str, float], more: dict[str, float], steps: int, cost: dict[str, Any]) -> dict[str, Any]:
    """As the page has them: shares in percent, ratios and areas as they are."""
    named = {
        "AUROC": "auroc", "DPR": "dpr", "EOR": "eor", "s-AUC": "s_auc", "density": "density",
        "closest record": "closest_record",
    }  # fmt: skip
    shares = {
        "balanced": "balanced_accuracy", "positive": "positive_rate", "coverage": "coverage",
        "nearer to training": "nearer_to_training",
    }  # fmt: skip
    measures = {shown: measured[name] for shown, name in named.items() if name in measured}
    measures |= {shown: 100 * measured[name] for shown, name in shares.items() if name in measured}
    return {"accuracy": measured["accuracy"], "steps": steps, "cost": cost, "measures": measures | more}


def ensure_autoencoder(recipe: Recipe, training: KindSet, settings: dict[str, Any], seed: int) -> Path:
    """Its file; trained first where it is not there."""
    chosen = AutoencoderSettings.model_validate(settings)
    written = json.dumps(chosen.model_dump(mode="json"), sort_keys=True)
    digest = hashlib.sha256(written.encode()).hexdigest()[:12]
    path = cache() / f"{recipe.data}-fair-{digest}-{seed}.safetensors"
    if path.is_file():
        return path
    sensitive, positive = SENSITIVE[recipe.data]
    model = fit_autoencoder(training, sensitive, positive, chosen, seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_autoencoder(path, model)
    return path


def distilled(recipe: Recipe, arm: Arm, seed: int, path: Path, model: AutoEncoder, out: Path) -> Result:
    """A strict run of the arm's method in the new directory `out`."""
    return distill(
        str(path), recipe.student, arm.method, f"{arm.steps}steps", out, seed, task=task_of(model), strict=True,
        preset=arm.preset, options=arm.options,
        settings={"threads": recipe.threads, "engine": {"snapshots": 1, "sample_grids": 1}},
    )  # fmt: skip


def _of_student(result: Result) -> dict[str, float]:
    """Of the latents that it draws."""
    by_name = {one["name"]: one.get("value") for one in result.summary["figures"]}
    shown = {"latent spread": "latent_spread_ratio", "latent distance": "latent_energy_distance"}
    return {name: by_name[figure] for name, figure in shown.items()}


def _set(recipe: Recipe, split: str) -> KindSet:
    rows = load_set(recipe.data, load_task(recipe.task), split)
    assert isinstance(rows, KindSet)
    return rows


def _rows(model: AutoEncoder, rows: KindSet) -> LabelledRows:
    assert not isinstance(rows.packed, Tensor)
    return labelled_rows(model, rows.packed, torch.from_numpy(rows.labels))


# -- what stands beside the rows


def _real(model: AutoEncoder, learnt: LabelledRows, real: LabelledRows, seed: int) -> dict[str, float]:
    """On a resample of the training rows, so that seeds differ."""
    again = learnt.at(np.random.default_rng(seed).integers(0, len(learnt), len(learnt)))
    return fair_rows.downstream(model, again, real)


def _constant(model: AutoEncoder, learnt: LabelledRows, real: LabelledRows, seed: int) -> dict[str, float]:
    return fair_rows.constant(real, positive=bool(learnt.positive.mean() >= 0.5))


def _reductions(model: AutoEncoder, learnt: LabelledRows, real: LabelledRows, seed: int) -> dict[str, float]:
    """Of boosted trees, within 2 points of demographic parity on the training rows."""
    from fairlearn.reductions import DemographicParity, ExponentiatedGradient

    again = learnt.at(np.random.default_rng(seed).integers(0, len(learnt), len(learnt)))
    reduction: Any = ExponentiatedGradient(
        fair_rows.classifier(model, seed).set_params(max_iter=40), DemographicParity(difference_bound=0.02), max_iter=8
    )
    reduction.fit(again.columns, again.positive.astype(int), sensitive_features=again.groups)
    scores = reduction._pmf_predict(real.columns)[:, 1]
    chosen = np.asarray(reduction.predict(real.columns, random_state=seed)).astype(bool)
    return fair_rows.served(chosen, scores, real)


OTHERS = {"real-rows": _real, "constant": _constant, "reductions": _reductions}
"""Method -> (autoencoder, training rows, test rows, seed) -> figures of a classifier."""
