"""A federated run over the recipe's set, simulated in one process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...api.federate.run import run as federate
from ...config import validate
from ...federated.settings import FederateSettings
from ..recipes.model import Arm, Recipe

SCORES = {"global": "accuracy_last_3", "clients": "clients_accuracy", "personal": "personal_accuracy"}


def run(recipe: Recipe, arm: Arm, seed: int, teacher: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The figures of one arm: 'accuracy' is the arm's `score`.

    arm.experiment: fields of FederateSettings, and `score`: 'global' (whole test set, mean of the last 3 evaluations),
    'clients' (the global model on the clients' own class mixes) or 'personal' (their own models on them).
    """
    options = dict(arm.experiment)
    score = options.pop("score", "global")
    settings = validate(
        FederateSettings,
        {"data": recipe.data, "task": recipe.task, "network": recipe.student, "method": arm.method, "seed": seed,
         "options": arm.options, "threads": recipe.threads, "local_only": False, **options},
        f"arm {arm.name}",
    )  # fmt: skip
    done = federate(settings, folder / "run")
    summary = done.summary
    scores = summary[SCORES[score]]
    measures = measured(summary, done.metrics, settings.active_clients)
    return {
        "accuracy": scores if isinstance(scores, float) else scores["mean"],
        "steps": arm.steps,
        "cost": {"samples": sum(line["figures"].get("samples", 0) for line in done.metrics)},
        "measures": {name: round(value, 3) for name, value in measures.items()},
    }


def measured(summary: dict[str, Any], lines: list[dict[str, Any]], active: int) -> dict[str, float]:
    """What the page shows beside the accuracy: percent, and kB per client and round."""
    figures: dict[str, float] = {}
    gains = [100 * (line["accuracy"] - line["accuracy_averaged"]) for line in lines if "accuracy_averaged" in line]
    if gains:
        figures["gain of fine-tuning"] = sum(gains) / len(gains)
        figures["gain of fine-tuning, last 3"] = sum(gains[-3:]) / len(gains[-3:])
    above = [
        100 * (line["accuracy_ensemble"] - line["accuracy_averaged"]) for line in lines if "accuracy_ensemble" in line
    ]
    if above:
        figures["ensemble above average"] = sum(above) / len(above)
    for key, name in (("clients_accuracy", "clients' mixes"), ("personal_accuracy", "personal")):
        if key in summary:
            figures |= {name: 100 * summary[key]["mean"], f"{name}, std": 100 * summary[key]["std"],
                      f"{name}, worst tenth": 100 * summary[key]["worst_tenth"]}  # fmt: skip
    for way in ("down", "up"):
        tensors = sum(size for part, size in summary[way].items() if part != "facts")
        figures[f"kB {way}"] = tensors / 1000 / active / summary["rounds"]
    return figures
