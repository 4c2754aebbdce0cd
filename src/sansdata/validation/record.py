"""validation.json of a student: what was declared and what was found, added to and never replaced.

`declarations` are written before the data are opened, `validations` after: a declaration without a result is one whose
data could not be read, or whose result nobody wanted to keep.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..files import exclusive, read_record, reason, write_json
from .noninferiority import Declaration

NAME = "validation.json"
LISTS = ("declarations", "validations")
MOST = 200


def declare(path: Path, declaration: Declaration, about: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Writes the declaration into `path` and gives those that stood there. about: fingerprints of student and teacher.
    Raises DataError where it cannot be written: without it nothing that is found would count."""
    try:
        with exclusive(path.parent):
            record = read_record(path, *LISTS)
            before = record["declarations"]
            if len(before) >= MOST:
                raise DataError(f"{path}: {MOST} validations were declared; that many looks prove nothing any more")
            write_json(path, record | {"declarations": [*before, declaration.to_dict() | dict(about)]})
            return before
    except (OSError, ValueError, RecursionError) as fault:
        raise DataError(
            f"{path} cannot be written ({reason(fault)}): the margin is recorded before the data are opened"
        ) from None


def keep(path: Path, validation: Mapping[str, Any]) -> None:
    """Adds a result. The figures at the top, which the report shows, are those of the last. Raises DataError."""
    try:
        with exclusive(path.parent):
            record = read_record(path, *LISTS)
            write_json(path, record | {"validations": [*record["validations"], dict(validation)]})
    except (OSError, ValueError, RecursionError) as fault:
        raise DataError(f"{path} cannot be written ({reason(fault)}): these figures stand nowhere else") from None
