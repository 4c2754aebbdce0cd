"""What is installed with us: no known holes by our own bounds, and no hint that names a stranger's package."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MENDED = {
    "torch": "2.10",  # CVE-2026-24747
    "pillow": "12.3",  # CVE-2026-25990, 40192, 55798, 59197 to 59200
    "onnx": "1.21",  # CVE-2026-27489, 34446, 34447
    "transformers": "5.3",  # CVE-2026-4372; 5.2 has CVE-2026-5241 besides
    "jinja2": "3.1.6", "scikit-learn": "1.5", "skops": "0.13", "werkzeug": "3.1.6", "protobuf": "6.33.5",
}  # fmt: skip
"""library -> the first release without the holes that advisories name (read in November 2026)."""


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


def locked() -> dict[str, list[str]]:
    """library -> the versions that the tests may be run with; of each, every file has a hash."""
    versions: dict[str, list[str]] = {}
    for entry in re.split(r"\n(?=\S)", (ROOT / "tests/requirements.txt").read_text().strip()):
        name, version = re.match(r"([a-zA-Z0-9_.-]+)==([^ ]+)", entry).groups()  # type: ignore[union-attr]
        assert "--hash=sha256:" in entry, f"{name} has no hash"
        versions.setdefault(name.lower(), []).append(version)
    return versions


def test_the_lock_holds_what_the_tests_need_within_our_bounds() -> None:
    """torch and torchvision stand in constraints.txt: their hashes differ from build to build."""
    makefile = (ROOT / "Makefile").read_text()
    extras = re.search(r"^EXTRAS := (.*)$", makefile, re.MULTILINE)[1].split()  # type: ignore[index]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    several = [
        *project["dependencies"],
        *(line for extra in extras for line in project["optional-dependencies"][extra]),
    ]
    names = {re.match(r"[a-zA-Z0-9_-]+", line)[0].lower() for line in several} - {"torch", "torchvision"}  # type: ignore[index]
    lock, bounds = locked(), lower_bounds()
    assert names <= lock.keys()
    below = [
        f"{name}=={version} is below {bounds[name]}"
        for name in names & bounds.keys()
        for version in lock[name]
        if numbers(version.split(".post")[0]) < numbers(bounds[name])
    ]
    assert below == []
