"""Scores, filters and the loss of uDistil-Whisper against references."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from sansdata.contracts import Batch, Outputs
from sansdata.kinds.outputs.transcript import IGNORED
from sansdata.methods.udistil.filters import area, below, best_share, groups_of
from sansdata.methods.udistil.heard import Heard
from sansdata.methods.udistil.labels import ClassLabels
from sansdata.methods.udistil.method import UDistil
from sansdata.methods.udistil.scores import SCORES, warped
from sansdata.methods.udistil.settings import WEIGHTS, UDistilConfig
from sansdata.objectives.edits import edits, normalised, word_error_rate
from sansdata.synthesis import voices
from sansdata.synthesis.voices import Utterance, speak
from sansdata.training.transfer import TransferSettings

RATE = 8000
WORDS = ["alpha", "omega", "kilo", "tango"]


def heard(said: list[str], spoken: list[str]) -> Heard:
    sounds = [speak(Utterance(text, "formants", "low", pitch=1 + 0.02 * n), RATE) for n, text in enumerate(spoken)]
    waveform = torch.zeros(len(sounds), 4000, dtype=torch.int16)
    for row, sound in zip(waveform, sounds):
        row[: len(sound)] = torch.from_numpy(sound[:4000].copy())
    length = torch.tensor([min(4000, len(sound)) for sound in sounds])
    surprise = torch.linspace(0.01, 2, len(said))
    return Heard(waveform, length, RATE, spoken, said, surprise, surprise / 2)


def test_word_error_rates_are_those_of_jiwer() -> None:
    jiwer = pytest.importorskip("jiwer")
    pairs = [("the cat sat", "the cat sat"), ("the cat sat", "a cat sat down"), ("one", ""), ("so it goes", "goes so")]
    for reference, other in pairs:
        assert word_error_rate(reference, other) == pytest.approx(jiwer.wer(reference, other))


def test_error_rates_of_known_strings() -> None:
    assert edits("kitten", "sitting") == 3
    assert word_error_rate("It's  SEVEN, isn’t it?", "it's seven isn't it") == 0
    assert word_error_rate("", "") == word_error_rate("...", "one") == math.inf
    assert not len(below(torch.tensor([word_error_rate("", "anything")]), 5.0))
    assert normalised(" 'Zero'_ONE ") == "zero one"


def test_scores_rank_what_was_heard_wrong_above_what_was_heard_right(monkeypatch: pytest.MonkeyPatch) -> None:
    """The transcript is spoken anew by formants, as the sounds were."""
    monkeypatch.setattr(voices, "programs", lambda _: {})
    spoken = WORDS * 6
    said = [text if place % 3 else WORDS[(WORDS.index(text) + 1) % 4] for place, text in enumerate(spoken)]
    table = heard(said, spoken)
    wrong = torch.tensor([a != b for a, b in zip(spoken, said)])
    for name in ("proxy", "similarity", "synthesis"):
        value = area(SCORES[name](table), wrong)
        assert value is not None
        assert value > 0.9, name


def test_every_score_is_a_number_for_each_sound() -> None:
    table = heard(["alpha", "", "ALPHA", "kilo kilo kilo kilo kilo kilo"], WORDS)
    for name, score in SCORES.items():
        values = score(table)
        assert values.shape == (4,), name
        assert bool(values.isfinite().all()), name
    assert SCORES["shouting"](table).tolist() == [0, 0, 1, 0]
    assert SCORES["repetition"](table).tolist() == pytest.approx([0, 0, 0, 0.8])
    assert SCORES["compression"](table).argmax() == 3
    assert SCORES["proxy"](table).tolist() == [0, 1, 1, 6]
    assert SCORES["confidence"](table).tolist() == pytest.approx((-torch.exp(-table.surprise)).tolist())


def test_a_proxy_with_identical_transcripts_keeps_all_and_one_threshold_the_same_ids() -> None:
    table = heard(WORDS, WORDS)
    assert below(SCORES["proxy"](table), 0).tolist() == [0, 1, 2, 3]
    score = torch.tensor([0.3, 0.1, 0.3, 0.9])
    assert below(score, 0.3).tolist() == below(score.clone(), 0.3).tolist() == [0, 1, 2]


def test_the_best_of_each_group_are_kept_so_that_no_class_is_dropped() -> None:
    said, seconds = ["a"] * 6 + ["b"] * 4, torch.arange(10.0)
    score = torch.tensor([9.0, 8, 7, 6, 5, 4, 3, 2, 1, 0])
    assert best_share(score, 0.5, groups_of(said, seconds, False, 1)).tolist() == [5, 6, 7, 8, 9]
    assert best_share(score, 0.5, groups_of(said, seconds, True, 1)).tolist() == [3, 4, 5, 8, 9]
    of_length = groups_of(said, seconds, False, 2)
    assert of_length.tolist() == [0] * 5 + [1] * 5
    assert best_share(torch.zeros(10), 0.4, of_length).tolist() == [0, 1, 5, 6]


def test_the_share_is_kept_of_many_small_groups_too() -> None:
    """Rounded for each group by itself, 1,000 sounds in groups of about one kept 329 where half was asked for."""
    said, seconds = (
        [str(number % 10) for number in range(1000)],
        torch.rand(1000, generator=torch.Generator().manual_seed(0)),
    )
    for share, wanted in ((0.5, 500), (0.3, 300), (0.25, 250)):
        kept = best_share(torch.rand(1000), share, groups_of(said, seconds, True, 100))
        assert len(kept) == wanted
        of_class = torch.tensor([int(said[place]) for place in kept]).bincount(minlength=10)
        assert all(abs(int(count) - wanted / 10) <= 1 for count in of_class)


def test_the_area_under_the_curve_is_scikit_learns() -> None:
    random = np.random.default_rng(0)
    for _ in range(10):
        score, wrong = random.integers(0, 6, 40).astype(float), random.random(40) < 0.3
        value = area(torch.from_numpy(score), torch.from_numpy(wrong))
        assert value == pytest.approx(roc_auc_score(wrong, score))
    assert area(torch.zeros(3), torch.zeros(3, dtype=torch.bool)) is None


def test_warping_is_the_cheapest_way() -> None:
    """Against every way through small tables, written out."""

    def cheapest(costs: np.ndarray, a: int, b: int) -> float:
        if a == 0 and b == 0:
            return costs[0, 0]
        steps = [(a - 1, b), (a, b - 1), (a - 1, b - 1)]
        return costs[a, b] + min(cheapest(costs, *step) for step in steps if min(step) >= 0)

    costs = torch.rand(5, 4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rows, columns = torch.tensor([4, 3, 1, 4, 2]), torch.tensor([5, 2, 1, 1, 5])
    for value, table, high, wide in zip(warped(costs, rows, columns), costs, rows.tolist(), columns.tolist()):
        assert float(value) == pytest.approx(cheapest(table.numpy(), high - 1, wide - 1) / (high + wide))


def test_confidence_and_entropy_are_those_of_the_softmax() -> None:
    logits = torch.tensor([[2.0, 0.0, -1.0], [0.1, 0.0, 0.2]])
    labels = ClassLabels(["x", "y", "z"]).heard(logits)
    chances = np.exp(logits.numpy().astype(float))
    chances /= chances.sum(1, keepdims=True)
    assert labels.said == ["x", "z"]
    assert labels.targets.tolist() == [0, 2]
    assert labels.surprise.tolist() == pytest.approx(-np.log(chances.max(1)), rel=1e-5)
    assert labels.doubt.tolist() == pytest.approx(-(chances * np.log(chances)).sum(1), rel=1e-5)


@pytest.mark.parametrize(("name", "of_label", "of_kl"), [("paper", 1.0, 0.8), ("released", 0.8, 1.0)])
def test_the_loss_is_that_of_the_paper_and_of_the_release(name: str, of_label: float, of_kl: float) -> None:
    """By hand, of a text of three tokens and one of two, at a temperature of 2: all five tokens weigh alike, padding
    nothing, and the teacher's probabilities count only where it agreed with the text."""
    random = np.random.default_rng(0)
    student, teacher = random.normal(size=(2, 4, 3)), random.normal(size=(2, 4, 3))
    targets, agreed = np.array([[0, 3, 1], [2, 2, IGNORED]]), [1.0, 0.0]

    def softmax(logits: np.ndarray, tau: float) -> np.ndarray:
        weights = np.exp(logits / tau)
        return weights / weights.sum()

    surprises, divergences = [], []
    for text, row in enumerate(targets):
        for place, token in enumerate(row):
            if token != IGNORED:
                s, t = student[text, :, place], teacher[text, :, place]
                surprises.append(-math.log(softmax(s, 1)[token]))
                apart = sum(q * math.log(q / p) for p, q in zip(softmax(s, 2), softmax(t, 2)))
                divergences.append(agreed[text] * 4 * apart)
    wanted = of_label * sum(surprises) / 5 + of_kl * sum(divergences) / 5

    config: Any = UDistilConfig(weights=name, kl="agreed", transfer=TransferSettings(temperature=2.0))  # type: ignore[arg-type]
    batch = Batch(
        torch.zeros(2, 1), torch.from_numpy(targets), Outputs(torch.from_numpy(teacher)),
        extras={"matched": torch.tensor(agreed)},
    )  # fmt: skip
    method: Any = SimpleNamespace(config=config)
    losses = UDistil.student_loss(method, lambda _: Outputs(torch.from_numpy(student)), batch)  # type: ignore[arg-type]
    assert WEIGHTS[name] == (of_label, of_kl)
    assert float(losses.total()) == pytest.approx(wanted, rel=1e-6)
