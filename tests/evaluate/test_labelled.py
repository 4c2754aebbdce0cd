import json

import numpy as np
import pytest
import torch

from sansdata.contracts import Outputs
from sansdata.datasets.imageset import ImageSet
from sansdata.errors import DataError, StudentError, TeacherError
from sansdata.evaluate.labelled import evaluate_model, summarise
from sansdata.tasks import ImageTask

TASK = ImageTask(shape=(1, 4, 4), classes=5, mean=(0.3,), std=(0.4,), class_names=tuple("abcde"))
LABELS = np.array([0, 1, 2, 3, 0, 1, 2, 3, 3, 3])  # no image of class 4
DATA = ImageSet(
    np.random.default_rng(0).integers(0, 256, (10, 4, 4, 1), dtype=np.uint8), LABELS, TASK.class_names, "made", ("n",)
)


def answers(table, log=None):
    """A model that gives the rows of `table` in turn."""
    rows = iter(torch.tensor(table, dtype=torch.float32))

    def predict(images):
        if log is not None:
            log.append(images)
        return torch.stack([next(rows) for _ in images])

    return predict


def table(classes, sharpness=5.0):
    return np.eye(5)[classes] * sharpness


RIGHT_BUT_TWO = np.array([0, 1, 2, 3, 0, 1, 2, 3, 4, 4])


@pytest.mark.parametrize("batch_size", [1, 3, 10, 256])
def test_figures_do_not_depend_on_the_batch_size(batch_size):
    found = evaluate_model(answers(table(RIGHT_BUT_TWO)), DATA, TASK, batch_size=batch_size)
    confidence = np.exp(5) / (np.exp(5) + 4)
    assert found.accuracy == 0.8
    assert found.count == 10
    assert found.per_class == (1, 1, 1, 0.5, None)
    assert np.array(found.confusion).sum() == 10
    assert found.confusion[3] == [0, 0, 0, 2, 2]
    assert found.mean_confidence == pytest.approx(confidence, abs=1e-7)
    assert found.ece == pytest.approx(confidence - 0.8, abs=1e-7)
    assert not hasattr(found, "teacher_accuracy")
    assert (found.source, found.notes, found.class_names) == ("made", ("n",), TASK.class_names)


def test_beside_a_teacher():
    found = evaluate_model(answers(table(RIGHT_BUT_TWO)), DATA, TASK, teacher=answers(table(LABELS)), batch_size=4)
    assert found.teacher_accuracy == 1
    assert found.agreement == 0.8
    low, high = found.agreement_interval
    assert low < 0.8 < high
    same = evaluate_model(answers(table(LABELS)), DATA, TASK, teacher=answers(table(LABELS)))
    assert same.agreement == 1
    assert same.kl == pytest.approx(0, abs=1e-12)


def test_the_model_sees_unit_space_once_and_without_gradient():
    log = []
    evaluate_model(answers(table(LABELS), log), DATA, TASK, batch_size=4)
    images = torch.cat(log)
    assert torch.equal((images * 255).round().byte()[:, 0], torch.from_numpy(DATA.images[..., 0]))
    weight = torch.zeros(16, 5, requires_grad=True)
    seen = []

    def predict(images):
        seen.append((images.flatten(1) @ weight).requires_grad)
        return images.flatten(1) @ weight

    evaluate_model(predict, DATA, TASK)
    assert seen == [False]


def test_outputs_and_half_precision_are_understood():
    logits = torch.tensor(table(LABELS))
    for answer in (Outputs(logits.float()), {"logits": logits.bfloat16()}, (logits.half(), None), logits.double()):
        assert evaluate_model(lambda _, answer=answer: answer, DATA, TASK).accuracy == 1


def test_to_dict_is_strict_json():
    found = evaluate_model(answers(table(LABELS)), DATA, TASK, teacher=answers(table(LABELS)))
    again = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert again["accuracy"] == 1
    assert again["per_class"][4] is None
    assert len(again["reliability"]) == 15
    assert "confusion" not in again  # the matrix stands once, in the list
    assert [len(one["data"]) for one in again["figures"] if one["name"] == "confusion"] == [5]
    assert (again["agreement"], again["teacher_accuracy"]) == (1, 1)
    assert again["agreement_interval"][1] == again["teacher_accuracy_interval"][1] == 1
    assert again["kl"] == pytest.approx(0, abs=1e-12)
    alone = evaluate_model(answers(table(LABELS)), DATA, TASK).to_dict()
    assert not alone.keys() & {"agreement", "kl", "teacher", "teacher_accuracy"}


def test_no_confusion_matrix_of_very_many_classes():
    task = ImageTask(shape=(1, 4, 4), classes=2000, mean=(0,), std=(1,))
    found = summarise(np.zeros((10, 2000), np.float32), DATA, task)
    assert not hasattr(found, "confusion")
    assert len(found.per_class) == 2000


def test_the_global_generators_are_left_alone():
    before = torch.random.get_rng_state(), np.random.get_state()[1].copy()
    evaluate_model(answers(table(LABELS)), DATA, TASK, teacher=answers(table(LABELS)))
    assert torch.equal(before[0], torch.random.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (torch.zeros(10, 4), "gives 4 classes and the task has 5"),
        (torch.zeros(9, 5), r"shape \[9, 5\]"),
        (torch.zeros(10, 5, 1, 1), "a map per input"),
        (torch.full((10, 5), torch.nan), "nan or infinite answers for 10 of 10"),
        (torch.full((10, 5), torch.inf), "nan or infinite"),
    ],
)
def test_wrong_answers_are_blamed_on_who_gave_them(answer, words):
    with pytest.raises(StudentError, match="the model.*" + words):
        evaluate_model(lambda _: answer, DATA, TASK)
    with pytest.raises(TeacherError, match="the teacher.*" + words):
        evaluate_model(answers(table(LABELS)), DATA, TASK, teacher=lambda _: answer)


def test_data_that_does_not_fit_the_task():
    with pytest.raises(DataError, match="load them with this task"):
        evaluate_model(answers(table(LABELS)), DATA, TASK.model_copy(update={"shape": (1, 8, 8)}))
    with pytest.raises(DataError, match=r"outside 0\.\.2"):
        evaluate_model(answers(table(LABELS)), DATA, TASK.model_copy(update={"classes": 3, "class_names": ()}))
