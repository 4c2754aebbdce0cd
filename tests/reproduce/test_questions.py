"""Questions about articles: parts that share none, and each kind of arm in small."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from sansdata.reproduce import questions
from sansdata.reproduce.experiments import find_experiment
from sansdata.reproduce.experiments import questions as experiment
from sansdata.reproduce.recipes import find_recipe

SMALL = {"train": 6, "given": 3, "dev": 1, "test": 3}


@pytest.fixture
def articles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Thirteen articles; who and how many, of each paragraph."""
    data = []
    for number in range(13):
        paragraphs = []
        for place in range(4):
            who, count = f"Name{'abcdefghijklm'[number]}{'abcd'[place]}", number * 7 + place
            context = f"It was {who} that came.\nThere were {count} of the others with {who}."
            prompts = [
                {"question": f"Who was it that came with {count}?", "answers": [{"text": who, "answer_start": 7}]},
                {
                    "question": f"How many of the others came with {who}?",
                    "answers": [{"text": str(count), "answer_start": context.index(f" {count} ") + 1}],
                },
            ]
            paragraphs.append({"context": context, "qas": prompts})
        data.append({"paragraphs": paragraphs})
    (tmp_path / questions.FILE).parent.mkdir(parents=True)
    (tmp_path / questions.FILE).write_text(json.dumps({"data": data}))
    monkeypatch.setenv("SANSDATA_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(questions, "PARTS", SMALL)
    monkeypatch.setattr(experiment, "PIECES", 150)
    monkeypatch.setattr(experiment, "FIRST_LENGTH", 40)
    questions.asked.cache_clear()
    yield
    questions.asked.cache_clear()


@pytest.mark.usefixtures("articles")
def test_parts_share_no_article_and_a_file_of_contexts_has_no_question(tmp_path: Path) -> None:
    parts = {name: questions.asked(name) for name in SMALL}
    assert {name: len({row.article for row in part}) for name, part in parts.items()} == SMALL
    assert len({row.context for part in parts.values() for row in part}) == 4 * sum(SMALL.values())
    written = questions.write_contexts(tmp_path / "given.txt", "given").read_text()
    assert len(written.splitlines()) == 4 * SMALL["given"]
    assert "Who" not in written


@pytest.mark.usefixtures("articles")
@pytest.mark.parametrize("name", ["chance", "first-phrase", "prompting", "zerogen", "real-questions"])
def test_each_kind_of_arm_gives_its_figures(tmp_path: Path, name: str) -> None:
    recipe = find_recipe("zerogen-qa")
    arm = next(arm for arm in recipe.arms["small"] if arm.name == name)
    more = {"transfer": {"batch": 8}} | ({"texts": 40, "chunk": 20, "min_words": 2} if name == "zerogen" else {})
    options = {**arm.options, **more} if arm.options else {}
    arm = arm.model_copy(update={"steps": 4 if arm.steps else 0, "options": options})
    figures = find_experiment(recipe.experiment)(recipe, arm, 0, {}, tmp_path)
    assert 0 <= 100 * figures["accuracy"] <= figures["measures"]["f1"] <= 100
    assert figures["measures"]["outside"] == 0
    if name == "zerogen":
        assert figures["measures"]["first_texts_given"] == 100
        assert figures["cost"]["samples"] == 40
    if name == "prompting":
        assert figures["accuracy"] > 0.5, "the language model hears whether a question asks for a name or a number"
