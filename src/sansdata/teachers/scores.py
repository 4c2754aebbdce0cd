"""Teachers that are only asked: a callable, a scikit-learn estimator, or an estimator in a .skops file.

Nobody looks inside them; what they say are probabilities, or only the class.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..contracts import Access
from ..decoding.arrays import archive_of
from ..errors import MissingLibraryError, TeacherError, UnsafeFileError
from ..files import sha256
from ..kinds.index import input_kind
from ..kinds.inputs.table import Table
from ..tasks import TableSpec, Task
from .base import Teacher

SMALLEST = 1e-6
"""A probability of 0 counts as this: forests say 0 where they mean rarely, and its logarithm is infinite."""
LABEL_LOGIT = -float(np.log(SMALLEST))
"""The logit of a class that is named alone, beside 0 for the others."""
PROBES = 64
TRUSTED = (
    "sklearn.tree._tree.Tree", "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor", "numpy.dtype",
)  # fmt: skip
"""Types beyond those that skops knows as data. The arrays of the first two are pointers of compiled code, so they are
checked; the last is the type of an array, which skops reads out of an array without objects (an imputer has one)."""
MAX_SKOPS_BYTES = 2 * 2**30
MAX_SCHEMA_BYTES = 64 * 2**20
"""Of the part that says what is made of what; it is JSON."""
MAX_SKOPS_PARTS = 30_000
"""A forest has a few of them a tree."""

Predict = Callable[[Any], Any]


def from_scores(predict: Any, task: Task, source: str = "a callable in Python", sha256: str | None = None) -> Teacher:
    """A teacher of rows that is only asked. Raises TeacherError for what cannot be asked, or answers with other
    classes.

    predict: an estimator of scikit-learn's kind, asked by predict_proba, or by predict where it has no probabilities;
    or a function of float64 (B, columns) -> probabilities (B, K) or class numbers (B,). The columns are those of the
    task in order: numbers in their own units, the place of the level for a category, nan where a value is missing. An
    estimator that learnt from a data frame is given one, with the names of the columns and of the levels.
    """
    if task.pair != ("table", "classes"):
        raise TeacherError(
            f"a teacher that is only asked reads tables so far, and this task is {' x '.join(task.pair)}"
        )
    module = Asked(predict, task)
    most = Access.SCORES if module.probabilities else Access.LABELS
    return Teacher(module, task.seen_through({"door": "matrix"}), None, source, sha256, most=most)


class Asked(nn.Module):
    """A callable as a module: rows float64 (B, columns) -> logits float32 (B, K) whose softmax is what it says."""

    def __init__(self, predict: Any, task: Task) -> None:
        super().__init__()
        self.task = task
        self._ask, self._frame = _question(predict), _frame_of(predict, task.inputs)
        self._order = _order_of(predict, task)
        draws = Table(task.inputs).draw(PROBES, torch.Generator().manual_seed(0))
        door = input_kind(task).preprocessor({"door": "matrix"})
        probes = door(draws)
        assert isinstance(probes, Tensor)
        self._probes = probes
        try:
            answer = np.asarray(self._ask(self._frame(self._probes.numpy())))
        except Exception as fault:  # it is code of somebody else's, on data that it has never seen
            raise TeacherError(
                f"the teacher fails when it is asked about rows of the task ({type(fault).__name__}: "
                f"{str(fault)[:300]}). It is given float64 (B, columns) in the order of the task's columns"
            ) from None
        self.probabilities = answer.ndim == 2
        self._check(answer, PROBES)
        if not self.probabilities:
            self._numbers(answer)

    def _check(self, answer: np.ndarray, count: int) -> None:
        classes = self.task.classes
        if answer.ndim == 2 and answer.shape != (count, classes):
            raise TeacherError(f"the teacher answered {count} rows with {answer.shape}; expected ({count}, {classes})")
        if answer.ndim == 1 and len(answer) != count:
            raise TeacherError(f"the teacher answered {count} rows with {len(answer)} labels")
        if answer.ndim not in (1, 2):
            raise TeacherError(f"the teacher answered with {answer.ndim} axes; expected probabilities or labels")
        if answer.ndim == 2 and not (
            np.isfinite(answer).all() and answer.min() >= -1e-6 and np.allclose(answer.sum(1), 1, atol=1e-3)
        ):
            raise TeacherError("the teacher's answers are no probabilities: each row must sum to 1, all from 0 to 1")

    @torch.no_grad()
    def forward(self, rows: Tensor) -> Tensor:
        answer = np.asarray(self._ask(self._frame(rows.detach().cpu().numpy())))
        self._check(answer, len(rows))
        if answer.ndim == 2:
            logits = np.log(np.clip(answer[:, self._order], SMALLEST, 1.0))
        else:
            logits = LABEL_LOGIT * (self._numbers(answer)[:, None] == np.arange(self.task.classes)[None])
        return torch.from_numpy(logits.astype(np.float32)).to(rows.device)

    def _numbers(self, labels: np.ndarray) -> np.ndarray:
        """Class numbers (B,) of the labels that came."""
        places = {str(name): place for place, name in enumerate(self.task.class_names)}
        numbers = [places[_text(one)] if _text(one) in places else _whole(one) for one in labels.tolist()]
        if min(numbers) < 0 or max(numbers) >= self.task.classes:
            raise TeacherError(f"the teacher named a class that is none of {self.task.classes}: {labels[:3]!r:.80}")
        return np.array(numbers)

    def fingerprint(self) -> str:
        """SHA-256 of its answers to fixed rows: what can be known of it without looking inside."""
        answers = self.forward(self._probes)
        return hashlib.sha256(answers.numpy().tobytes()).hexdigest()


def _text(label: Any) -> str:
    """A label as a task writes it: a whole number without its point."""
    return str(int(label)) if isinstance(label, float) and label.is_integer() else str(label)


def _whole(label: Any) -> int:
    try:
        number = int(label)
    except (TypeError, ValueError, OverflowError):
        raise TeacherError(f"the teacher named the class {label!r:.40}, which the task does not know") from None
    if not isinstance(label, str) and label != number:
        raise TeacherError(
            f"the teacher answered {label!r:.40} where a class belongs. A regressor is no classifier: give one that "
            "answers with classes or with a probability for each"
        )
    return number


def _question(predict: Any) -> Predict:
    for name in ("predict_proba", "predict"):
        if callable(getattr(predict, name, None)):
            return getattr(predict, name)
    if not callable(predict):
        raise TeacherError(f"expected a function or an estimator, got {type(predict).__name__}")
    return predict


def _order_of(predict: Any, task: Task) -> list[int]:
    """Place of each class of the task among the estimator's own."""
    classes = getattr(predict, "classes_", None)
    if classes is None:
        return list(range(task.classes))
    theirs, labels = [_text(one) for one in np.asarray(classes).tolist()], not hasattr(predict, "predict_proba")
    for ours in (list(task.class_names), [str(number) for number in range(task.classes)]):
        if ours and sorted(ours) == sorted(theirs):
            return [theirs.index(name) for name in ours]
        if labels and set(theirs) <= set(ours):  # it names what it answers; some classes it may never have seen
            return list(range(task.classes))
    raise TeacherError(
        f"the teacher's classes are {', '.join(theirs[:10])}, the task's "
        f"{', '.join(task.class_names) or task.classes}; name them alike (class_names in the task)"
    )


def _frame_of(predict: Any, spec: TableSpec) -> Callable[[np.ndarray], Any]:
    """What turns a matrix into what the estimator learnt from: the matrix itself, or a data frame."""
    names = getattr(predict, "feature_names_in_", None)
    if names is None:
        return lambda rows: rows
    known = {column.name: place for place, column in enumerate(spec.columns)}
    unknown = [str(name) for name in names if str(name) not in known]
    if unknown:
        raise TeacherError(f"the teacher learnt from a column '{unknown[0]}' that the task does not have")
    try:
        pandas = import_module("pandas")
    except ImportError as fault:
        raise MissingLibraryError(f"this teacher learnt from a data frame, and pandas is not there ({fault})") from None
    order = [known[str(name)] for name in names]

    def frame(rows: np.ndarray) -> Any:
        columns = {}
        for name, place in zip(names, order):
            column, values = spec.columns[place], rows[:, place]
            if column.levels:
                texts = np.array([*column.levels, None], dtype=object)
                values = texts[np.where(np.isnan(values), len(column.levels), values).astype(int)]
            columns[str(name)] = values
        return pandas.DataFrame(columns)

    return frame


# -- files


def load_skops(path: Path, task: Task) -> Teacher:
    """The estimator in a .skops file. Raises UnsafeFileError where reading it would run code of its own or it holds
    trees that point out of themselves, TeacherError where it cannot be read or asked."""
    try:
        skops = import_module("skops.io")
    except ImportError as fault:
        raise MissingLibraryError(f"{path}: needs skops ({fault}): pip install skops") from None
    if not os.path.isfile(path):
        raise TeacherError(f"{path}: does not exist")
    if path.stat().st_size > MAX_SKOPS_BYTES:
        raise TeacherError(f"{path}: larger than {MAX_SKOPS_BYTES:,} bytes")
    try:
        _require_room(path)
        foreign = sorted(set(skops.get_untrusted_types(file=str(path))) - set(TRUSTED))
        if foreign:
            raise UnsafeFileError(
                f"{path}: holds {', '.join(foreign[:5])}, which would run code of its own to be read. If you trust it, "
                "load it in Python and give it to sansdata.Teacher.from_scores"
            )
        estimator = skops.load(str(path), trusted=list(TRUSTED))
    except TeacherError:
        raise
    except Exception as fault:  # a broken zip, a broken schema, a type of another version
        raise TeacherError(
            f"{path}: cannot be read as a .skops file ({type(fault).__name__}: {str(fault)[:200]})"
        ) from None
    for tree in _trees_in(estimator):
        if not _stays_inside(tree):
            raise UnsafeFileError(f"{path}: holds a tree whose nodes point out of it; the file was changed or broken")
    return from_scores(estimator, task, str(path), sha256(path))


def _require_room(path: Path) -> None:
    """Raises UnsafeFileError for an archive whose parts are larger than the file may be: skops unpacks them whole."""
    with open(path, "rb") as file, archive_of(file, str(path), MAX_SKOPS_PARTS) as archive:
        sizes = {entry.filename: entry.file_size for entry in archive.infolist()}
    if sum(sizes.values()) > MAX_SKOPS_BYTES or sizes.get("schema.json", 0) > MAX_SCHEMA_BYTES:
        raise UnsafeFileError(f"{path}: its parts take {sum(sizes.values()):,} bytes once unpacked, more than is read")


def _trees_in(estimator: Any, depth: int = 0) -> Iterator[Any]:
    """Every tree of compiled nodes below an estimator."""
    if depth > 12:
        return
    if type(estimator).__name__ in ("Tree", "TreePredictor"):
        yield estimator
    elif isinstance(estimator, (list, tuple, np.ndarray)):
        for one in np.ravel(np.array(estimator, dtype=object)) if isinstance(estimator, np.ndarray) else estimator:
            yield from _trees_in(one, depth + 1)
    elif isinstance(estimator, Mapping):
        yield from _trees_in(list(estimator.values()), depth + 1)
    elif type(estimator).__module__.startswith("sklearn."):
        yield from _trees_in(list(getattr(estimator, "__dict__", {}).values()), depth + 1)


def _stays_inside(tree: Any) -> bool:
    """Whether every node's children come after it and within the tree, and every feature is one that it was made
    for."""
    if type(tree).__name__ == "Tree":
        left, right, features = tree.children_left, tree.children_right, tree.feature
        inner = left != -1
        most = int(tree.n_features)
    else:
        nodes = tree.nodes
        left, right, features = nodes["left"].astype(np.int64), nodes["right"].astype(np.int64), nodes["feature_idx"]
        inner, most = nodes["is_leaf"] == 0, np.iinfo(np.int64).max
        sets = nodes["bitset_idx"][inner & (nodes["is_categorical"] != 0)]
        if len(sets) and int(sets.max()) >= len(tree.raw_left_cat_bitsets):
            return False
    place = np.arange(len(left))
    for child in (left, right):
        if not ((child[inner] > place[inner]) & (child[inner] < len(left))).all():
            return False
    return bool((features[inner] >= 0).all() and (features[inner] < most).all())
