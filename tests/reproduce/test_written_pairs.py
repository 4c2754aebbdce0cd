"""Headlines beside reports: parts that share none, pairs that are what they say, and each kind of arm in small."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sansdata.reproduce import headlines
from sansdata.reproduce.experiments import find_experiment, written_pairs
from sansdata.reproduce.recipes import find_recipe

SMALL = {"train": 60, "given": 20, "dev": 10, "test": 30}


@pytest.fixture
def news(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Reports of four sections; the two words that a headline says of its report no other has."""
    (tmp_path / headlines.FILE).parent.mkdir(parents=True)
    said = [(n, f"A{n % 12}", f"B{n % 13}") for n in range(140)]
    rows = [f'"{n % 4 + 1}","{a} and {b} again","It is said, of {a}, that {b} came home."' for n, a, b in said]
    (tmp_path / headlines.FILE).write_text("\n".join(rows))
    monkeypatch.setenv("SANSDATA_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(headlines, "PARTS", SMALL)
    monkeypatch.setattr(written_pairs, "PILOT", 30)
    for one in (headlines.items, headlines.pairs):
        one.cache_clear()
    yield
    for one in (headlines.items, headlines.pairs):
        one.cache_clear()


@pytest.mark.usefixtures("news")
def test_parts_share_no_report_and_every_report_has_both_classes() -> None:
    parts = {name: headlines.items(name) for name in SMALL}
    assert {name: len(part) for name, part in parts.items()} == SMALL
    reports = [item.report for part in parts.values() for item in part]
    assert len(set(reports)) == len(reports)
    own = {item.report: item for part in parts.values() for item in part}
    section = {item.headline: item.section for part in parts.values() for item in part}
    for name in ("train", "test"):
        rows = headlines.pairs(name).rows
        assert [label for _, _, label in rows] == [1, 0] * len(parts[name])
        for report, headline, label in rows:
            assert (own[report].headline == headline) == (label == 1)
            assert section[headline] == own[report].section
    assert parts["test"][0].report.startswith("it is said , of a")


@pytest.mark.usefixtures("news")
@pytest.mark.parametrize("name", ["prompting", "given-firsts", "written-firsts", "real-pairs"])
def test_each_kind_of_arm_gives_its_figures(tmp_path: Path, name: str) -> None:
    recipe = find_recipe("zerogen-pairs")
    arm = next(arm for arm in recipe.arms["small"] if arm.name == name)
    more: dict[str, Any] = {"transfer": {"batch": 8}}
    if arm.method == "zerogen":
        more |= {"texts": 40, "chunk": 20, "min_words": 2}
    options = {**arm.options, **more} if arm.options else {}
    arm = arm.model_copy(update={"steps": 4 if arm.steps else 0, "options": options})
    figures = find_experiment(recipe.experiment)(recipe, arm, 0, {}, tmp_path)
    assert 0 <= figures["accuracy"] <= 1
    assert 0 <= figures["measures"]["misplaced"] <= 100
    if arm.method == "zerogen":
        assert figures["measures"]["first_texts_given"] == (100 if name == "given-firsts" else 0)
        assert figures["cost"]["samples"] == 40
    if name == "prompting":
        assert figures["accuracy"] > 0.6, "the language model hears which headline says the report again"
