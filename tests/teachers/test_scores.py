"""Teachers that are only asked: what they say, in which order, and what a file of one may not do."""

from __future__ import annotations

import json
import zipfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from tiny import ENGINE, make_table_task

import sansdata
from sansdata.contracts import Access
from sansdata.datasets.load import load_set
from sansdata.errors import MethodError, TeacherError, UnsafeFileError
from sansdata.kinds.index import input_kind
from sansdata.tasks import KNOWN_TASKS
from sansdata.teachers.base import Teacher
from sansdata.teachers.scores import load_skops

TASK = KNOWN_TASKS["wine"]


def learnt(estimator: Any, labels: Any = None) -> Any:
    data = load_set("wine", TASK, "train")
    rows = input_kind(TASK).preprocessor({"door": "matrix"})(data.packed)  # type: ignore[union-attr]
    return estimator.fit(rows.numpy(), data.labels if labels is None else np.array(labels)[data.labels])  # type: ignore[union-attr]


def real() -> Any:
    return load_set("wine", TASK).packed  # type: ignore[union-attr]


ESTIMATORS = {
    "forest": lambda: RandomForestClassifier(10, random_state=0),
    "boosted": lambda: GradientBoostingClassifier(n_estimators=5, random_state=0),
    "histograms": lambda: HistGradientBoostingClassifier(max_iter=5, random_state=0),
    "pipeline": lambda: make_pipeline(StandardScaler(), LogisticRegression()),
    "imputed": lambda: make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression()),
}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_it_answers_as_the_estimator_does(name: str, tmp_path: Path) -> None:
    skops = pytest.importorskip("skops.io")
    estimator = learnt(ESTIMATORS[name]())
    skops.dump(estimator, tmp_path / "model.skops")
    rows = input_kind(TASK).preprocessor({"door": "matrix"})(real())
    wanted = estimator.predict_proba(rows.numpy())  # type: ignore[union-attr]
    for teacher in (Teacher.from_scores(estimator, TASK), load_skops(tmp_path / "model.skops", TASK)):
        answers = teacher(real()).logits
        assert answers.dtype == torch.float32
        assert np.allclose(answers.softmax(1).numpy(), np.clip(wanted, 1e-6, 1), atol=1e-4)
        assert teacher.access == Access.SCORES
        assert teacher.fingerprint() == Teacher.from_scores(estimator, TASK).fingerprint()


def test_classes_are_put_into_the_order_of_the_task() -> None:
    """An estimator sorts its classes by name; the task may not."""
    named = TASK.outputs.model_copy(update={"class_names": ("red", "white", "pink")})
    task = TASK.model_copy(update={"outputs": named})
    teacher = Teacher.from_scores(learnt(DecisionTreeClassifier(random_state=0), ["red", "white", "pink"]), task)
    labels = load_set("wine", TASK).labels
    assert (teacher(real()).logits.argmax(1).numpy() == labels).mean() > 0.8


def test_a_model_that_only_names_classes_is_asked_for_labels() -> None:
    estimator = learnt(DecisionTreeClassifier(random_state=0))
    teacher = Teacher.from_scores(estimator.predict, TASK)
    assert teacher.access == Access.LABELS
    answers = teacher(real()).logits.softmax(1)
    rows = input_kind(TASK).preprocessor({"door": "matrix"})(real())
    assert (answers.argmax(1).numpy() == estimator.predict(rows.numpy())).all()  # type: ignore[union-attr]
    assert answers.amax(1).min() > 0.99


def test_a_data_frame_with_names_and_levels_is_given_to_whoever_learnt_from_one() -> None:
    pandas = pytest.importorskip("pandas")
    task, frames = make_table_task(), []

    class Estimator:
        feature_names_in_ = np.array(["colour", "size", "doubt"])

        def predict_proba(self, frame: Any) -> np.ndarray:
            frames.append(frame)
            return np.full((len(frame), 4), 0.25)

    Teacher.from_scores(Estimator(), task)
    (frame,) = frames
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame.columns) == ["colour", "size", "doubt"]
    assert set(frame["colour"]) == {"red", "green", "blue"}
    assert frame["doubt"].isna().any()


@pytest.mark.parametrize(
    ("predict", "words"),
    [
        (3, "expected a function or an estimator"),
        (lambda rows: 1 / 0, "ZeroDivisionError"),
        (lambda rows: np.zeros((len(rows), 2)), r"expected \(64, 3\)"),
        (lambda rows: np.zeros((len(rows), 3)), "each row must sum to 1"),
        (lambda rows: np.full((len(rows), 3), np.nan), "no probabilities"),
        (lambda rows: np.zeros(3), "3 labels"),
        (lambda rows: np.zeros((len(rows), 3, 1)), "3 axes"),
        (
            lambda rows: np.where(rows[:, 0] > rows[0, 0], 1.7, 0.9),
            "1.7 where a class belongs|0.9 where a class belongs",
        ),
        (lambda rows: np.full(len(rows), Fraction(1, 2)), "where a class belongs"),
        (lambda rows: np.full(len(rows), np.inf), "named the class inf"),
        (lambda rows: np.full(len(rows), 7), "none of 3"),
    ],
)
def test_what_is_no_teacher_is_said_to_be_none(predict: Any, words: str) -> None:
    with pytest.raises(TeacherError, match=words):
        Teacher.from_scores(predict, TASK)


def test_a_regressor_is_no_classifier(tmp_path: Path) -> None:
    skops = pytest.importorskip("skops.io")
    regressor = learnt(DecisionTreeRegressor(max_leaf_nodes=5, random_state=0))
    skops.dump(regressor, tmp_path / "model.skops")
    for load in (lambda: Teacher.from_scores(regressor, TASK), lambda: load_skops(tmp_path / "model.skops", TASK)):
        with pytest.raises(TeacherError, match="A regressor is no classifier"):
            load()


def test_labels_are_those_of_the_task_however_they_are_written() -> None:
    """A label 1.0 is the class of the name '1', wherever the task has it."""
    named = TASK.outputs.model_copy(update={"class_names": ("1", "2", "0")})
    teacher = Teacher.from_scores(lambda rows: np.arange(len(rows)) % 3.0, TASK.model_copy(update={"outputs": named}))
    assert teacher.module._numbers(np.array([0.0, 1.0, 2.0])).tolist() == [2, 0, 1]  # type: ignore[operator]

    class Shifted:
        classes_ = np.array([1, 2, 3])

        def predict(self, rows: np.ndarray) -> np.ndarray:
            return np.ones(len(rows), int)

    with pytest.raises(TeacherError, match=r"classes are 1, 2, 3"):
        Teacher.from_scores(Shifted(), TASK)


def test_other_classes_are_refused_with_both_names() -> None:
    with pytest.raises(TeacherError, match=r"classes are a, b, c, the task's class_0"):
        Teacher.from_scores(learnt(DecisionTreeClassifier(), ["a", "b", "c"]), TASK)


def test_methods_that_look_inside_are_refused(tmp_path: Path) -> None:
    teacher = Teacher.from_scores(learnt(RandomForestClassifier(5, random_state=0)), TASK)
    verdict = sansdata.check(teacher, student="mlp-small")
    assert verdict["faults"] == []
    assert verdict["access"] == "scores"
    assert verdict["methods"]["tabkd"] == []
    assert "tabkd" in verdict["auto"]
    with pytest.raises(MethodError, match="inputs are image"):
        sansdata.distill(teacher, "mlp-small", "dafl", "2steps", tmp_path / "run")
    with pytest.raises(sansdata.errors.StudentError, match="Name a student"):  # type: ignore[attr-defined]
        sansdata.distill(teacher, method="tabkd", budget="2steps", out=tmp_path / "run")


def test_a_strict_run_from_a_file_reads_nothing_else(tmp_path: Path) -> None:
    skops = pytest.importorskip("skops.io")
    file = tmp_path / "model.skops"
    skops.dump(learnt(RandomForestClassifier(5, random_state=0)), file)
    result = sansdata.distill(
        str(file), "mlp-small", "tabkd", "6steps", tmp_path / "run", task="wine", strict=True,
        options={"draws": 64, "search": 120, "rows": 32, "steps_per_round": 2}, settings={"engine": ENGINE},
    )  # fmt: skip
    ledger = json.loads((tmp_path / "run" / "ledger.json").read_text())
    assert ledger["violations"] == []
    assert {entry["role"] for entry in ledger["files"]} <= {"teacher", "system", "directory"}
    assert result.task.own_preprocessing == {}, "a student reads rows by its own door"
    evaluation = sansdata.evaluate(result, "wine", teacher=str(file))
    assert 0 <= evaluation.agreement <= 1
    assert evaluation.auroc > 0.5


# -- files that are not what they seem


class Payload:
    def __reduce__(self) -> Any:
        return (print, ("ran",))


def test_code_in_a_file_does_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    skops = pytest.importorskip("skops.io")
    estimator = learnt(LogisticRegression(max_iter=2000))
    estimator.extra = Payload()
    file = tmp_path / "model.skops"
    skops.dump(estimator, file)
    with pytest.raises(UnsafeFileError, match="would run code"):
        load_skops(file, TASK)
    assert "ran" not in capsys.readouterr().out


@pytest.mark.parametrize("field", ["left_child", "right_child", "feature"])
def test_a_tree_that_points_out_of_itself_is_refused(tmp_path: Path, field: str) -> None:
    """Compiled code follows these numbers without a look."""
    skops = pytest.importorskip("skops.io")
    estimator = learnt(DecisionTreeClassifier(random_state=0))
    state = estimator.tree_.__getstate__()
    state["nodes"][field][0] = 1_000_000
    estimator.tree_.__setstate__(state)
    file = tmp_path / "model.skops"
    skops.dump(estimator, file)
    with pytest.raises(UnsafeFileError, match="point out of it"):
        load_skops(file, TASK)


@pytest.mark.parametrize("text", [b"", b"PK\x03\x04", b"\x00" * 100])
def test_a_broken_file_is_a_teacher_error(tmp_path: Path, text: bytes) -> None:
    pytest.importorskip("skops.io")
    (tmp_path / "model.skops").write_bytes(text)
    with pytest.raises(TeacherError):
        load_skops(tmp_path / "model.skops", TASK)
    with pytest.raises(TeacherError, match="does not exist"):
        load_skops(tmp_path / "nowhere.skops", TASK)
    with zipfile.ZipFile(tmp_path / "zip.skops", "w") as archive:
        archive.writestr("schema.json", '{"__class__": "str"}')
    with pytest.raises(TeacherError):
        load_skops(tmp_path / "zip.skops", TASK)
