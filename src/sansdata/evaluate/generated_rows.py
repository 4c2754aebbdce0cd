"""A generator of rows on real data, under every rule for the sensitive attribute."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..datasets.labelled import KindSet
from ..figures import Figure, Finding
from ..teachers.autoencoder import AutoEncoder
from ..teachers.autoencoder.decoding import ALL, Made, Rule, decoded, rule_of
from . import fair_rows
from .fair_rows import LabelledRows, figures_of, labelled_rows
from .labelled import Evaluation

ROWS = 20_000
"""Made for each rule, as in the card's check."""
MAIN = "neutral"
"""The rule whose figures stand first, without its name."""


def rules_of(model: AutoEncoder) -> dict[str, Rule]:
    """Those that are measured, by what they are called."""
    plain = {name: rule_of(name, (), model) for name in (MAIN, "own", "marginal", "balanced")}
    return plain | {"neutral, all columns": rule_of(MAIN, (ALL,), model)}


def measured_rows(
    made: Made, model: AutoEncoder, real: LabelledRows, training: LabelledRows | None
) -> dict[str, float]:
    """Every figure of made rows beside real ones. training: the real rows that the autoencoder learnt, for who has
    them."""
    rows = labelled_rows(model, made.rows, made.labels)
    by_group = [float(rows.positive[rows.groups == group].mean()) for group in set(rows.groups.tolist())]
    measured = fair_rows.downstream(model, rows, real) | {
        "label_rate": float(rows.positive.mean()),
        "label_dpr": min(by_group) / max(by_group) if max(by_group) > 0 else 1.0,
        "s_auc": fair_rows.readable(rows.columns, rows.groups, fair_rows.classifier(model)),
        **fair_rows.closeness(rows, real),
    }
    return measured | ({} if training is None else fair_rows.copies(rows, training, real))


def evaluate_rows(latents: Any, model: AutoEncoder, data: KindSet, training: KindSet | None) -> Evaluation:
    """latents: count, stream -> (count, Z) of the generator. data: real rows to be tested on. training: the real rows
    that the autoencoder learnt, None where nobody has them; then nothing is said of copies.

    Raises DataError where a set is of another table, MissingLibraryError without fairlearn.
    """
    data.require_fit(model.bins.task)
    real = _real(model, data)
    learnt = None if training is None else _real(model, training)
    findings: list[Finding] = []
    base = float(real.positive.mean())
    always = fair_rows.constant(real, positive=base >= 0.5)
    points = {"one answer for all": (always["dpr"], always["auroc"])}
    for name, rule in rules_of(model).items():
        stream = torch.Generator().manual_seed(0)
        measured = measured_rows(decoded(model, latents(ROWS, stream), rule, stream), model, real, learnt)
        findings += figures_of(measured, "" if name == MAIN else f" ({name})")
        points[name] = (measured["dpr"], measured["auroc"])
        if name == MAIN:
            findings.append(Figure("base_rate", base, "share", "of the real rows that have the good class"))
            findings += figures_of(of_latents(model, real, data))
            findings += figures_of(always, " (one answer for all)")
    if learnt is not None:
        of_real = fair_rows.downstream(model, learnt, real)
        findings += figures_of(of_real, " (real training rows)")
        points["real training rows"] = (of_real["dpr"], of_real["auroc"])
    findings.append(fair_rows.plane(points))
    names = model.bins.task.class_names
    good = names[model.positive] if names else str(model.positive)
    notes = [*data.notes, f"the good class is '{good}', the groups are those of '{model.sensitive.column}': "
             f"{', '.join(model.sensitive.names)}"]  # fmt: skip
    compared = fair_rows.of_both(real)
    if one_sided := [model.sensitive.names[group] for group in set(real.groups.tolist()) if group not in compared]:
        notes.append(
            f"equalized odds leave out {', '.join(one_sided)}, whose real rows are all of one class"
            + ("" if len(compared) > 1 else "; fewer than two groups are left, so that there is no such figure")
        )
    return Evaluation(len(data), tuple(findings), data.class_names, data.source, tuple(notes))


def of_latents(model: AutoEncoder, real: LabelledRows, data: KindSet) -> dict[str, float]:
    """What the encoder's latents of real rows tell."""
    groups = torch.from_numpy(real.groups)
    latents = model.sampled(real.codes, groups, torch.Generator().manual_seed(0))
    group, label = fair_rows.latent_aucs(latents, groups, data.labels)
    return {"latent_s_auc": group, "latent_class_auc": label}


def _real(model: AutoEncoder, data: KindSet) -> LabelledRows:
    rows: Mapping[str, Tensor] | Tensor = data.packed
    assert not isinstance(rows, Tensor)
    return labelled_rows(model, rows, torch.from_numpy(data.labels))
