"""Several labels at once: the binary divergence, F1 against scikit-learn, what is no such answer."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn import metrics as sk

from sansdata.contracts import Outputs
from sansdata.datasets.load import load_set
from sansdata.errors import DataError, TaskError, TeacherError
from sansdata.figures import values
from sansdata.kinds.index import input_kind
from sansdata.kinds.outputs.multilabel import Multilabel
from sansdata.objectives.logits import binary_kl
from sansdata.tasks import MultilabelSpec, load_task
from sansdata.testing.worlds import WORLDS

KIND = Multilabel(MultilabelSpec(classes=5, class_names=tuple("abcde")))


def answers(seed: int, count: int = 40) -> torch.Tensor:
    return 2 * torch.randn(count, 5, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_the_divergence_is_that_of_each_label_added_up(temperature: float) -> None:
    student, teacher = answers(0), answers(1)
    p, q = (1 / (1 + np.exp(-one.double().numpy() / temperature)) for one in (teacher, student))
    expected = temperature**2 * (p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))).sum(1)
    how = SimpleNamespace(match="kl", temperature=temperature)
    assert np.allclose(KIND.match(Outputs(student), Outputs(teacher), how), expected, atol=1e-5)
    sure = torch.tensor([[300.0, -300.0]])
    assert binary_kl(sure, sure).item() == 0
    assert bool(torch.isfinite(binary_kl(-sure, sure)).all())


def test_other_matches_are_those_of_logits() -> None:
    student, teacher = answers(0), answers(1)
    figures = KIND.match(Outputs(student), Outputs(teacher), SimpleNamespace(match="mse", temperature=1.0))
    assert torch.allclose(figures, (student - teacher).square().mean(1))


def test_figures_are_those_of_scikit_learn() -> None:
    own, theirs = answers(0), answers(1)
    truth = (answers(2) > 0).numpy().astype(np.uint8)
    figures = values(KIND.evaluate(own.numpy(), truth, theirs.numpy()))
    assert figures["f1"] == pytest.approx(sk.f1_score(truth, own.numpy() > 0, average="micro"))
    assert figures["exact"] == pytest.approx(sk.accuracy_score(truth, own.numpy() > 0))
    assert figures["agreement"] == pytest.approx(sk.f1_score(theirs.numpy() > 0, own.numpy() > 0, average="micro"))
    assert figures["agreement"] == pytest.approx(KIND.agreement(own, theirs)["agreement"])
    nothing = torch.full((4, 5), -9.0)
    assert KIND.agreement(nothing, nothing)["agreement"] == 1
    assert KIND.agreement(nothing, answers(0, 4))["agreement"] == 0, "to name nothing is no agreement"


def test_what_is_no_such_answer_is_said() -> None:
    assert KIND.faults(torch.zeros(4, 5), 4) == []
    assert "expected (4, 5) logits" in KIND.faults(torch.zeros(4, 6), 4)[0]
    assert "expected (4, 5) logits" in KIND.faults(torch.zeros(4, 5, dtype=torch.int64), 4)[0]
    with pytest.raises(TeacherError):
        KIND.read("words")


def test_a_teacher_is_judged_by_what_it_answers() -> None:
    assert KIND.judge(answers(0), str)[1:] == ([], [])
    assert "leave out its final sigmoid" in KIND.judge(answers(0).sigmoid(), str)[1][0]
    assert "same answer" in KIND.judge(answers(0)[:1].expand(8, 5), str)[1][0]
    assert "not finite" in KIND.judge(answers(0).log(), str)[1][0]
    stuck = torch.cat([answers(0)[:, :4], torch.ones(40, 1)], 1)
    assert "1 label(s) never change (e)" in KIND.judge(stuck, lambda label: "abcde"[label])[2][0]


def test_samples_in_which_nothing_is_named_are_warned_of() -> None:
    for logits, names in ((answers(0), []), (torch.full((40, 5), -3.0), ["nothing named"])):
        described = values(KIND.describe(logits))
        assert [one.name for one in KIND.warnings(described, 1.0, 40, str)] == names
    assert KIND.captions(np.array([[3, -1, 2, -1, 4.0], [-2, -3, -4, -5, -6]]), lambda label: "abcde"[label]) == [
        ("e, a, c", "98 %"), ("(none)", "12 %"),
    ]  # fmt: skip


def test_names_are_one_per_label() -> None:
    with pytest.raises(TaskError, match="2 names for 3"):
        load_task({
            "inputs": {"kind": "waveform", "length": 800},
            "outputs": {"kind": "multilabel", "classes": 3, "class_names": ["a", "b"]},
        })  # fmt: skip


def test_a_labelled_set_is_read_from_arrays(tmp_path: Path) -> None:
    task = WORLDS["tags"].task
    kind = input_kind(task)
    arrays = kind.to_arrays(kind.pack(kind.draw(6, torch.Generator().manual_seed(0))))
    there = np.random.default_rng(0).integers(0, 2, (6, 4)).astype(np.uint8)
    np.savez(tmp_path / "set.npz", y=there, **arrays)  # type: ignore[arg-type]
    assert load_set(tmp_path / "set.npz", task).labels.tolist() == there.tolist()
    for y in (there[:, :3], there + 1, there.astype(np.float32) / 2):
        np.savez(tmp_path / "other.npz", y=y, **arrays)  # type: ignore[arg-type]
        with pytest.raises(DataError, match="0 or 1"):
            load_set(tmp_path / "other.npz", task)
