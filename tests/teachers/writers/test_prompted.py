"""A writer as a classifier: the class under whose prompt a text is likeliest."""

from __future__ import annotations

from typing import Any

import torch

from sansdata.contracts import Access
from sansdata.kinds.index import input_kind
from sansdata.teachers.preflight import preflight
from sansdata.teachers.writers.prompted import LABEL_LOGIT, Prompted
from sansdata.teachers.writers.teacher import teacher_of
from sansdata.testing.worlds import WORLDS, made_up_texts

WORLD: Any = WORLDS["writer"]


def test_texts_of_a_class_are_taken_for_it() -> None:
    writer = WORLD.writer()
    asked = Prompted(writer, WORLD.task)
    pairs = made_up_texts()
    texts, labels = [text for text, _ in pairs], torch.tensor([label for _, label in pairs])
    scores = asked.of_texts(texts)
    assert float((scores.argmax(1) == labels).float().mean()) > 0.95
    for place, name in enumerate(WORLD.task.class_names):
        assert torch.equal(scores[:, place], writer.score([name] * len(texts), texts)[0])
    kind: Any = input_kind(WORLD.task)
    teacher = WORLD.teacher()
    assert torch.equal(teacher(kind.read(texts)).logits, scores)
    assert teacher.access == Access.SCORES
    assert preflight(teacher).faults == []


class Answering:
    source, needs_prompts, scores, debiases, words = "a script", False, False, False, "spaces"

    def generate(self, prompts: Any, stream: Any, how: Any) -> list[str]:
        return [" 'Class 2'.\n" if "w1" in prompt else "none of these" for prompt in prompts]

    def fingerprint(self) -> str:
        return "script"


def test_one_without_probabilities_is_asked_for_the_name() -> None:
    script: Any = Answering()
    teacher = teacher_of(script, WORLD.task)
    assert teacher.access == Access.LABELS
    found = Prompted(script, WORLD.task).of_texts(["c1w1", "nothing"])
    assert found.tolist() == [[0, 0, LABEL_LOGIT, 0], [0, 0, 0, 0]]
