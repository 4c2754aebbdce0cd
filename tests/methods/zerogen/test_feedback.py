"""Helpful texts become examples: which ones, when, and what comes of them."""

from __future__ import annotations

import torch

from sansdata.methods.zerogen.feedback import Feedback, copies, examples_for, solved
from sansdata.tasks import Prompts


def test_feedback_comes_whenever_there_are_twice_as_many_texts() -> None:
    how = Feedback(share=0.5, first=100)
    assert how.after(1000, 100) == [1, 2, 4, 8]
    assert how.after(1000, 250) == [1, 2]
    assert how.after(100, 100) == []
    assert Feedback(first=100).after(1000, 100) == []


class Parabola:
    """Texts whose losses are half of `bends` times the squares of two weights."""

    bends = torch.tensor([1.0, 4.0])

    def __init__(self) -> None:
        self.parameters = [torch.ones(2, requires_grad=True)]

    def losses(self, ids: torch.Tensor) -> torch.Tensor:
        return (0.5 * self.bends * self.parameters[0].square()).sum().expand(len(ids))


def test_the_recursion_ends_at_the_damped_inverse_which_damping_does_not_share_with_scale() -> None:
    how = Feedback(damping=0.1, scale=20.0, depth=200, batch=2)
    gradient = [torch.tensor([2.0, -3.0])]
    direction = solved(Parabola(), gradient, torch.arange(4), how)  # type: ignore[arg-type]
    assert torch.allclose(direction[0], gradient[0] / (0.1 + Parabola.bends / 20), atol=1e-4)


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
