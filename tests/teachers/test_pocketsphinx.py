"""PocketSphinx as a teacher: what it makes of a decoder's answers, and the real one where its package is installed."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from sansdata.contracts import Access
from sansdata.datasets.labelled import KindSet
from sansdata.datasets.load import load_set
from sansdata.errors import DataError, MissingLibraryError, TeacherError
from sansdata.tasks import Task, load_task
from sansdata.teachers import pocketsphinx
from sansdata.teachers.specs import declared_files, load_teacher
from sansdata.teachers.students import load_student

DIGITS = load_task("spoken-digits")
LETTERS = {
    "inputs": {"kind": "waveform", "rate": 16000, "length": 8000},
    "outputs": {"kind": "transcript", "alphabet": " abcdefghijklmnopqrstuvwxyz", "length": 12},
}


class Decoder:
    """Hears 'two' in what is loud, nothing in silence, else 'four'; as sure as it is loud."""

    def __init__(self, **settings: Any) -> None:
        self.settings, self.grammar, self.lengths = settings, "", []

    def add_jsgf_string(self, name: str, grammar: str) -> None:
        self.grammar = grammar

    def activate_search(self, name: str) -> None: ...
    def start_utt(self) -> None: ...
    def end_utt(self) -> None: ...

    def lookup_word(self, word: str) -> str | None:
        return None if word.startswith("x") else "P"

    def process_raw(self, data: bytes, full_utt: bool) -> None:
        samples = np.frombuffer(data, np.int16)
        self.lengths.append(len(samples))
        self.loud = float(np.abs(samples.astype(np.float64)).max()) / 32768

    def hyp(self) -> Any:
        return None if self.loud == 0 else SimpleNamespace(hypstr="two" if self.loud > 0.5 else "four", prob=self.loud)


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("pocketsphinx")
    module.Decoder = Decoder  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pocketsphinx", module)
    monkeypatch.setattr(pocketsphinx, "version", lambda name: "9.9")


def sounds(task: Task, *loud: float) -> dict[str, torch.Tensor]:
    waveform = torch.zeros(len(loud), task.inputs.length)
    waveform[:, 100:200] = torch.tensor(loud)[:, None]
    return {"waveform": waveform, "length": torch.full((len(loud),), 4000)}


@pytest.mark.usefixtures("package")
def test_what_it_heard_is_as_likely_as_it_is_sure() -> None:
    task = load_task({
        "inputs": {"kind": "waveform", "rate": 16000, "length": 8000}, "outputs": DIGITS.outputs.model_dump(),
    })  # fmt: skip
    teacher = load_teacher("pocketsphinx", task)
    assert teacher.most == Access.SCORES
    assert load_student("mel-cnn-small", teacher, task).task == task, "a student has a door of its own"
    assert teacher.module.decoder.settings["lm"] is None  # type: ignore[union-attr]
    assert "<said> = zero | one | two" in teacher.module.decoder.grammar  # type: ignore[union-attr]
    chances = teacher(sounds(task, 0.8, 0.3, 0.0, 0.05)).value.softmax(1)
    assert chances[0, 2] == pytest.approx(0.8, abs=0.01)
    assert chances[0, [0, 9]].tolist() == pytest.approx([0.2 / 9] * 2, abs=0.01)
    assert chances[1, 4] == pytest.approx(0.3, abs=0.01)
    assert torch.allclose(chances[2], torch.tensor(0.1)), "nothing was heard"
    assert chances[3].argmax() == 4, "what it named, however little it is sure"
    slower = load_teacher("pocketsphinx", DIGITS)
    slower(sounds(DIGITS, 0.8))
    assert slower.module.decoder.lengths == [2 * 4000 + 2 * 1600], "brought to 16 kHz, between two pauses"  # type: ignore[union-attr]


@pytest.mark.usefixtures("package")
def test_texts_are_tokens_of_the_task() -> None:
    task = load_task(LETTERS)
    teacher = load_teacher("pocketsphinx", task)
    answers = teacher(sounds(task, 0.8, 0.0)).value
    outputs: Any = teacher.network.outputs
    assert outputs.texts(outputs.tokens(answers)) == ["two", ""]
    assert "lm" not in teacher.module.decoder.settings, "its own language model"  # type: ignore[union-attr]


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize(
    ("names", "words"),
    [(["one", "xyz"], "lacks xyz"), (["one", "One!"], "each another"), (["one", "?"], "must be words")],
)
def test_names_that_it_cannot_hear_are_refused(names: list[str], words: str) -> None:
    task = {"kind": "sound-classification", "rate": 8000, "length": 8000, "classes": 2, "class_names": names}
    with pytest.raises(TeacherError, match=words):
        load_teacher("pocketsphinx", load_task(task))


def test_another_job_is_refused_and_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TeacherError, match="recogniser of speech"):
        load_teacher("pocketsphinx", load_task("mnist"))
    monkeypatch.setitem(sys.modules, "pocketsphinx", None)
    with pytest.raises(MissingLibraryError, match="pip install pocketsphinx"):
        load_teacher("pocketsphinx", DIGITS)


@pytest.mark.long
def test_the_real_one_hears_real_digits(tmp_path: Path) -> None:
    """Far above chance, with fewer errors where it is sure; its files are declared."""
    pytest.importorskip("pocketsphinx", reason="the package pocketsphinx is not installed")
    assert all(path.is_file() for path in declared_files("pocketsphinx"))
    try:
        whole = load_set("fsdd", DIGITS, "train")
    except DataError as fault:
        pytest.skip(str(fault))
    assert isinstance(whole, KindSet)
    data = whole.subset(np.arange(0, 1800, 30))
    teacher = load_teacher("pocketsphinx", DIGITS)
    answers = torch.cat([teacher(inputs).value for inputs, _ in data.batches(20)])
    right = answers.argmax(1) == torch.from_numpy(data.labels)
    sure = answers.softmax(1).amax(1)
    assert right.float().mean() > 0.6
    assert sure[right].mean() > sure[~right].mean()
    with pytest.raises(TeacherError, match="lacks"):
        load_teacher("pocketsphinx", load_task({
            "kind": "sound-classification", "rate": 8000, "length": 8000, "classes": 2, "class_names": ["a", "qqqxz"],
        }))  # fmt: skip
