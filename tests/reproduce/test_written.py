"""Texts that a small language model wrote: every set of the recipes gives its arms, and the parts share no text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sansdata.reproduce import texts
from sansdata.reproduce.experiments import find_experiment, written
from sansdata.reproduce.recipes import find_recipe
from sansdata.reproduce.recipes.model import Arm, Recipe


def made_up(count: int, classes: int, seed: int) -> texts.Texts:
    """Ten words, half of them of the class."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    rows = tuple(
        " ".join(f"w{word}" if word < 10 else f"c{label}w{word}" for word in random.integers(0, 20, 10))
        for label in labels
    )
    return texts.Texts(rows, labels, classes)


@pytest.fixture
def recipe(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    found = find_recipe(request.param)
    count = len(found.task["outputs"]["class_names"])  # type: ignore[call-overload,index]
    parts = made_up(60 * count, count, 0), made_up(20 * count, count, 1)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setitem(texts.SETS, found.data, lambda: parts)
    monkeypatch.setattr(written, "PILOT", 40)
    return found


def small(arm: Arm) -> Arm:
    more: dict[str, Any] = {"transfer": {"batch": 8}}
    if arm.method == "zerogen":
        more |= {"texts": 60, "chunk": 60}
    return arm.model_copy(
        update={"steps": min(4, arm.steps), "options": {**arm.options, **more} if arm.options else {}}
    )


@pytest.mark.parametrize("recipe", ["zerogen", "zerogen-trec", "zerogen-news"], indirect=True)
@pytest.mark.parametrize("role", ["prompting", "zerogen", "real-data"])
def test_each_kind_of_arm_gives_its_figures(tmp_path: Path, recipe: Recipe, role: str) -> None:
    arm = small(next(arm for arm in recipe.arms["small"] if arm.method == role))
    figures = find_experiment(recipe.experiment)(recipe, arm, 0, {}, tmp_path)
    assert 0 <= figures["measures"]["misplaced"] <= 100
    if role == "prompting":
        assert figures["accuracy"] > 0.9, "half of the words are of one class alone"
    if role == "zerogen":
        assert 50 < figures["cost"]["samples"] <= 60, "near copies are not kept"
        assert 0 < figures["measures"]["yield"] <= 100


def test_news_are_parted_words_of_two_parts_that_share_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "text/agnews/test.csv"
    file.parent.mkdir(parents=True)
    rows = [f'"{n % 4 + 1}","Fears for N{n}","It\'s said, again."' for n in range(1200)]
    file.write_text("\n".join(rows))
    monkeypatch.setenv("SANSDATA_DATA", str(tmp_path))
    train, test = texts.SETS["ag-news"]()
    assert (len(train), len(test), train.classes) == (200, 1000, 4)
    assert not set(train.texts) & set(test.texts)
    assert np.bincount(test.labels).tolist() == [250] * 4
    number = int(test.texts[0].split()[2].removeprefix("n"))
    assert test.texts[0] == f"fears for n{number} . it ' s said , again ."
    assert test.labels[0] == number % 4
