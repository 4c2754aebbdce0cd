"""Helpful texts become examples: which ones, when, and what comes of them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch

from sansdata.methods.zerogen.feedback import Feedback, copies, examples_for, held_out, helpful, solved
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


class Sloped(Parabola):
    """Twelve texts of three classes with known slopes; remembers what it was taught."""

    labels = torch.tensor([0, 1] * 6)

    def __init__(self, slopes: list[float]) -> None:
        super().__init__()
        self.taught: list[int] = []
        self.known = torch.tensor(slopes, dtype=torch.float32)
        streams: Any = lambda name: torch.Generator().manual_seed(0)  # noqa: E731
        self.context = SimpleNamespace(streams=streams, task=SimpleNamespace(classes=3))

    def teach(self, ids: torch.Tensor, batch: int, lr: float) -> None:
        self.taught += ids.tolist()

    def logits(self, ids: torch.Tensor) -> torch.Tensor:
        return self.parameters[0].expand(len(ids), 2)

    def slopes(self, direction: Any) -> torch.Tensor:
        return self.known.clone()


def test_only_texts_that_lower_the_held_out_loss_are_examples_and_no_held_out_one() -> None:
    pilot: Any = Sloped([5, 1, 4, -1, 3, -2, 2, -3, 1, -4, -5, -6])
    how = Feedback(helpful=4, epochs=3, batch=2)
    assert helpful(pilot, [0, 11], how, 0.1) == [[2, 4, 6, 8], [1], []]
    assert sorted(pilot.taught) == sorted([*range(1, 11)] * 3)
    assert pilot.taught[:10] != pilot.taught[10:20]


def test_what_is_held_out_stays_so_and_grows_to_what_is_wanted() -> None:
    how, chosen, known = Feedback(held_out=30), list[int](), list[int]()
    for number, (texts, wanted) in enumerate(((40, 10), (100, 25), (300, 30), (900, 30))):
        chosen = held_out(known, texts, how, torch.Generator().manual_seed(number))
        assert chosen[: len(known)] == known
        assert len(set(chosen)) == len(chosen) == wanted
        assert max(chosen) < texts
        known = chosen


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
    assert copies("a good film really nice", ["Good, good film (really): nice!"])
