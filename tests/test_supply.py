"""What is installed with us: no known holes by our own bounds, and no hint that names a stranger's package."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MENDED = {
    "torch": "2.10", "pillow": "12.1.1", "jinja2": "3.1.6", "scikit-learn": "1.5", "skops": "0.13",
    "transformers": "5.0", "werkzeug": "3.1.6", "protobuf": "6.33.5",
}  # fmt: skip
"""library -> the first release without the holes that we know of."""


def lower_bounds() -> dict[str, str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    several = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    bounds = (re.fullmatch(r"([a-zA-Z0-9_-]+)(?:\[\w+\])?>=([\d.]+)", one) for one in several)
    return {bound[1].lower(): bound[2] for bound in bounds if bound is not None}


def numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


@pytest.mark.parametrize("library", MENDED)
def test_the_lowest_release_allowed_has_no_hole_that_we_know_of(library: str) -> None:
    assert numbers(lower_bounds()[library]) >= numbers(MENDED[library])


def test_no_hint_installs_a_package_of_our_name_from_a_registry() -> None:
    """The name is not ours there: who follows such a hint may get anything. A library is named by itself."""
    files = [*(ROOT / "src").rglob("*.py"), *ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    hint = re.compile(r"pip install[^\n]*[ '\"]sansdata\b|sansdata\[")
    assert [f"{path.name}: {found[0]}" for path in files if (found := hint.search(path.read_text("utf-8")))] == []
