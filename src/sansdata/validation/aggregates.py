"""The last look before anything is written: only figures of many cases leave, never a row of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import DisclosureError
from .cases import Cases
from .subgroups import LEAST_CASES

COUNTS = ("count", "n", "cases", "patients")
SAYING = {"meaning", "caveat", "needs", "text"}
"""What a finding says of itself, and a row of numbers does not."""


def require_aggregates(record: Any, cases: Cases) -> None:
    """Raises DisclosureError where `record`, plain data on its way into a file, holds a list with a number for each
    case or patient, a cell of fewer than 10 cases, or the name of a patient or of a file; and where all of it is of
    fewer than 10 patients."""
    if cases.patient_count < LEAST_CASES:
        raise DisclosureError(
            f"the cases are of {cases.patient_count} patient(s), and figures of fewer than {LEAST_CASES} are about "
            "persons; nothing was written"
        )
    _look(record, "", cases, min(len(cases), cases.patient_count))


def _look(value: Any, place: str, cases: Cases, least: int) -> None:
    if place.endswith("class_names"):  # the task's, which knows no case
        return
    if isinstance(value, str):
        if cases.identities.named_in(value):
            raise DisclosureError(f"'{place}' would name a patient or a file; nothing was written")
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            _look(str(name), place, cases, least)
            if name in COUNTS and isinstance(inner, int) and 0 < inner < LEAST_CASES:
                raise DisclosureError(f"'{place}.{name}' would be of {inner} case(s); nothing was written")
            _look(inner, f"{place}.{name}" if place else str(name), cases, least)
    elif isinstance(value, list | tuple):
        names = cases.data.class_names
        rows = [one for one in value if not _is_of_a_class(one, names)]
        of_classes = len(rows) <= len(names)
        if len(rows) >= least and not of_classes and not all(_is_figure(one) for one in rows):
            raise DisclosureError(
                f"'{place}' would hold {len(rows)} entries of {least} cases or patients: as many rows as there are "
                "persons; nothing was written"
            )
        for inner in value:
            _look(inner, place, cases, least)


def _is_of_a_class(value: Any, names: Sequence[str]) -> bool:
    """A class of which nothing is said: there are no more of them than classes."""
    return isinstance(value, Mapping) and value.get("column") == "class" and value.get("level") in names


def _is_figure(value: Any) -> bool:
    """A finding by its name: their number depends on classes and groups, not on cases."""
    return isinstance(value, Mapping) and "name" in value and not SAYING.isdisjoint(value)
