"""The study of few real cases, in small: its arms, its sizes, and that what it is given stays."""

from __future__ import annotations

import importlib
import math
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from tiny import make_module, make_student, make_task

from sansdata.datasets.labelled import KindSet
from sansdata.errors import DataError
from sansdata.finetuning.loop import Synthetic
from sansdata.finetuning.settings import FineTuneSettings
from sansdata.network import Network

TASK = make_task()


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    return importlib.import_module("few_real")


@pytest.fixture
def cases() -> KindSet:
    images = torch.randint(0, 256, (48, 1, 8, 8), dtype=torch.uint8)
    with torch.no_grad():
        labels = make_module()((images.float().div(255) - 0.5) / 0.25).argmax(1).numpy()
    return KindSet(TASK, images, labels, (), "drawn")


def test_every_arm_at_every_size_and_the_student_as_it_is(study: ModuleType, cases: KindSet) -> None:
    student, fresh = Network.of(make_student().eval(), TASK), make_student(seed=3)
    before = {name: value.clone() for name, value in student.module.state_dict().items()}
    random = fresh.linear.weight.clone()  # type: ignore[union-attr,operator]
    made = Synthetic(cases.packed, torch.randn(48, 4))
    settings = FineTuneSettings(epochs=1, batch=8)
    several = list(study.few_real(student, fresh, TASK, cases, cases, made, (8, 16), (0, 1), settings, steps=2))
    assert (several[0].arm, several[0].count) == ("fine-tuned", 0)
    assert [(one.arm, one.count, one.seed) for one in several[1:]] == [
        (arm, count, seed) for seed in (0, 1) for count in (8, 16) for arm in study.ARMS
    ]
    assert all(0 <= one.accuracy <= 1 and math.isnan(one.auroc) for one in several)
    assert all(torch.equal(value, before[name]) for name, value in student.module.state_dict().items())
    assert torch.equal(random, fresh.linear.weight)  # type: ignore[union-attr,arg-type]
    with pytest.raises(DataError, match="there are 48"):
        next(study.few_real(student, fresh, TASK, cases, cases, made, (50,), (0,), settings))


def test_of_two_classes_the_area_is_that_of_scikit_learn(study: ModuleType) -> None:
    from sklearn.metrics import roc_auc_score

    from sansdata.tasks import ImageTask

    task = ImageTask(shape=(1, 8, 8), classes=2, mean=(0.5,), std=(0.25,))
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2))
    images = torch.randint(0, 256, (40, 1, 8, 8), dtype=torch.uint8)
    data = KindSet(task, images, np.arange(40) % 2, (), "drawn")
    with torch.no_grad():
        logits = module((images.float().div(255) - 0.5) / 0.25).numpy()
    accuracy, area = study.measured(Network.of(module, task), data)
    assert area == pytest.approx(roc_auc_score(data.labels, logits[:, 1] - logits[:, 0]))
    assert accuracy == (logits.argmax(1) == data.labels).mean()
