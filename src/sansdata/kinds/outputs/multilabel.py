"""K labels of which any number may be there: answers are logits (B, K) float32 of K independent sigmoids."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...contracts import Outputs
from ...errors import TeacherError
from ...figures import Drawing, Figure, Finding, Warned
from ...models.taps import logits_of
from ...objectives import logits
from ...objectives.logits import binary_kl
from ...tasks import MultilabelSpec
from ..base import OutputKind, all_alike, not_finite, unmoved

NameOf = Callable[[int], str]
FEW = 0.02
"""Labels of a sample, on average, below which a teacher names nothing."""
NAMED = 3
"""Labels in a caption."""


class Multilabel(OutputKind):
    """spec.classes is K. A label is there where its probability is above one half."""

    Spec = MultilabelSpec
    unit = "labels"

    def read(self, raw: Any) -> Tensor:
        return logits_of(raw, self.spec.classes).float()

    def faults(self, raw: Any, count: int) -> list[str]:
        try:
            answers = logits_of(raw, self.spec.classes)
        except TeacherError as fault:
            return [str(fault)]
        expected = (count, self.spec.classes)
        if answers.is_floating_point() and tuple(answers.shape) == expected:
            return []
        return [f"the teacher returned {answers.dtype} {list(answers.shape)}; expected {expected} logits, one a label"]

    def judge(self, answers: Tensor, name_of: NameOf) -> tuple[str, list[str], list[str]]:
        if faults := not_finite(answers, "logits"):
            return "unknown", faults, []
        still = unmoved(answers)
        if bool(still.all()):
            return "logits", [all_alike("answer")], []
        if bool((answers >= 0).all() and (answers <= 1).all()):
            return "probabilities", ["the teacher returns probabilities, not logits: leave out its final sigmoid"], []
        dead = [name_of(label) for label in still.nonzero().flatten().tolist()]
        warnings = [f"dead outputs: {len(dead)} label(s) never change ({', '.join(dead[:5])})"] if dead else []
        return "logits of independent labels", [], warnings

    def match(self, student: Outputs, teacher: Outputs, how: Any) -> Tensor:
        if how.match == "kl":
            return binary_kl(student.logits, teacher.logits, how.temperature)
        return logits.match(how.match, student.logits, teacher.logits)

    def same(self, one: Tensor, other: Tensor) -> Tensor:
        return ((one > 0) == (other > 0)).all(1)

    def agreement(self, student: Tensor, teacher: Tensor) -> Mapping[str, float]:
        """agreement: F1 of the student's labels by the teacher's, since most labels are absent and to name none would
        agree with nearly all of them. overlap: what both probabilities have in common, of what either has."""
        student, teacher = student.detach(), teacher.detach()
        mine, theirs = student.sigmoid(), teacher.sigmoid()
        common, either = torch.minimum(mine, theirs).sum(), torch.maximum(mine, theirs).sum()
        return {
            "agreement": f1(student > 0, teacher > 0), "overlap": float(common / either.clamp_min(1e-12)),
            "kl": float(binary_kl(student, teacher).mean()),
        }  # fmt: skip

    def describe(self, answers: Tensor, late: Tensor | None = None) -> list[Finding]:
        there = (answers > 0).double()
        shares = [round(share, 6) for share in there.mean(0).tolist()]
        return [
            Drawing("label_shares", "bars", shares, "share of the samples in which the teacher names a label",
                    self.spec.class_names),
            Figure("labels_per_sample", float(there.sum(1).mean()), "number", "that the teacher names, mean"),
            Figure("labels_named", float((there.sum(0) > 0).double().mean()), "share",
                   "of all labels, those that the teacher names in some sample", "higher"),
        ]  # fmt: skip

    def warnings(self, described: Mapping[str, Any], agreed: float, count: int, name_of: NameOf) -> list[Warned]:
        if described["labels_per_sample"] >= FEW:
            return []
        return [Warned("nothing named", described["labels_per_sample"], "the teacher names hardly any label in the "
                       "samples, so the student learns to name none")]  # fmt: skip

    def evaluate(self, answers: np.ndarray, truth: np.ndarray, teacher: np.ndarray | None = None) -> list[Finding]:
        """answers (N, K), truth (N, K): 1 where a label is there, 0 where not."""
        own, sought = torch.from_numpy(answers), torch.from_numpy(np.asarray(truth) > 0)
        findings: list[Finding] = [
            Figure("f1", f1(own > 0, sought), "share", "of all labels together", "higher"),
            Figure("exact", float(((own > 0) == sought).all(1).float().mean()), "share", "samples with every label "
                   "right", "higher"),
        ]  # fmt: skip
        if teacher is not None:
            theirs = torch.from_numpy(teacher)
            findings += [
                Figure("teacher_f1", f1(theirs > 0, sought), "share", "on the same samples"),
                Figure("agreement", f1(own > 0, theirs > 0), "share", "F1 of the student's labels by the teacher's",
                       "higher"),
                Figure("kl", float(binary_kl(own, theirs).mean()), "nats", "KL to the teacher, all labels together",
                       "lower"),
            ]  # fmt: skip
        return findings

    def targets(self, answers: Tensor) -> np.ndarray:
        return (answers > 0).to(torch.uint8).numpy()

    def captions(self, answers: np.ndarray, name_of: NameOf) -> Sequence[tuple[str, str]]:
        """The likeliest labels that are there, and how sure the first of them is."""
        if answers.ndim != 2 or answers.shape[1] < 1:
            return []
        chances = torch.from_numpy(np.nan_to_num(answers)).float().sigmoid()
        best, labels = chances.topk(min(NAMED, chances.shape[1]), 1)
        return [
            (", ".join(name_of(label) for label, chance in zip(row, sure) if chance > 0.5) or "(none)",
             f"{100 * sure[0]:.0f} %")
            for row, sure in zip(labels.tolist(), best.tolist())
        ]  # fmt: skip

    def signature(self) -> tuple[str, tuple[int, ...]]:
        return "logits", (self.spec.classes,)


def f1(named: Tensor, there: Tensor) -> float:
    """Of bool (N, K), over all labels together; 1 where nothing is there and nothing is named."""
    both, total = int((named & there).sum()), int(named.sum() + there.sum())
    return 2 * both / total if total else 1.0
