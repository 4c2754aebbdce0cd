"""Helpful texts become examples: which ones, when, and what comes of them."""

from __future__ import annotations

import torch

from sansdata.methods.zerogen.feedback import Feedback, copies, examples_for
from sansdata.tasks import Prompts


def test_feedback_comes_whenever_there_are_twice_as_many_texts() -> None:
    how = Feedback(share=0.5, first=100)
    assert how.after(1000, 100) == [1, 2, 4, 8]
    assert how.after(1000, 250) == [1, 2]
    assert how.after(100, 100) == []
    assert Feedback(first=100).after(1000, 100) == []


def test_examples_are_of_the_class_and_stand_before_a_share_of_the_prompts() -> None:
    how, prompts = Feedback(share=0.5, shots=2), Prompts(text="{label}: ", example="<{text}>")
    labels = [0, 1, 2] * 100
    chosen = [["a0", "b0", "c0"], ["a1"], []]
    before, texts = examples_for(labels, chosen, how, prompts, torch.Generator().manual_seed(0))
    hits = [bool(one) for one in before]
    assert 70 < sum(hits) < 130
    for label, said, shown in zip(labels, before, texts):
        assert said == "".join(f"<{text}>" for text in shown)
        assert set(shown) <= set(chosen[label])
        assert len(shown) in (0, min(2, len(chosen[label])))


def test_a_text_with_nearly_all_words_of_an_example_is_a_copy() -> None:
    example = "one two three four five six seven eight nine ten"
    assert copies("Ten nine eight seven six five four three two and", [example])
    assert not copies("one two three four five six seven eight and so on", [example])
    assert not copies("anything", [])
