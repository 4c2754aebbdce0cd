"""Figures of a student beside its teacher's: each stands once, and nothing is lost."""

from __future__ import annotations

from sansdata.figures import Figure
from sansdata.report.paired import paired


def test_a_row_has_all_three_and_what_has_no_partner_stays_by_itself() -> None:
    several = [
        Figure("student auroc", 0.9, "number", "ranks", "higher", (0.88, 0.92)),
        Figure("teacher auroc", 0.95, "number", "ranks", "higher"),
        Figure("difference auroc", -0.05, "number", "student less teacher: ranks", "higher", (-0.07, -0.03)),
        Figure("student kappa", 0.8, "number", "agreement", "higher"),
        Figure("student ece, recalibrated", 0.02, "number", "gap", "lower"),
        Figure("teacher ece, recalibrated", 0.03, "number", "gap", "lower"),
        Figure("class entropy", 0.7, "number", "even", "higher"),
    ]
    rows, others = paired({one.name: one for one in several})
    assert [(row.name, row.student, row.teacher, row.difference, row.arrow) for row in rows] == [
        ("auroc", "0.9 (0.88 to 0.92)", "0.95", "-0.05 (-0.07 to -0.03)", "↑"),
        ("ece, recalibrated", "0.02", "0.03", "", "↓"),
    ]
    assert [one.name for one in others] == ["student kappa", "class entropy"]
