"""Slips in a method are answered by a sentence that names the contract; and the public suite sees what no check can."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from tiny import make_student, make_task, make_teacher

import sansdata
from sansdata import Access, Batch, Losses, Method, Requirements, Strict, TransferSettings
from sansdata.engine.session import Session
from sansdata.errors import DivergedError, Interrupted, MethodError
from sansdata.methods.index import find_method
from sansdata.runtime import Runtime
from sansdata.testing import MethodContract


class DrawnConfig(Strict):
    steps: int = 4
    transfer: TransferSettings = TransferSettings(batch=8)


class Drawn(Method):
    """Random images; the smallest method there is."""

    Config: ClassVar[type] = DrawnConfig

    @classmethod
    def requires(cls, config: Any) -> Requirements:
        return Requirements(access=Access.LABELS)

    @classmethod
    def plan(cls, config: Any, steps: int) -> dict[str, int]:
        return {"transfer": steps}

    def next_move(self) -> str:
        return "transfer"

    def images(self) -> torch.Tensor:
        return torch.rand(8, *self.context.task.shape, generator=self.context.streams("drawn"))

    def transfer_batch(self) -> Batch:
        images = self.images()
        self.context.counters.add("samples", len(images))
        return self.context.teach(images)

    def state(self) -> dict[str, Any]:
        return {}


class TestDrawn(MethodContract):
    """The suite as a package has it in its own test file."""

    method = Drawn


class FloatLoss(Drawn):
    def student_loss(self, student: Any, batch: Batch) -> Any:
        return student(batch.inputs).value.mean()


class FloatTerm(Drawn):
    def student_loss(self, student: Any, batch: Batch) -> Losses:
        losses = Losses()
        losses.add("mean", 1, lambda: float(student(batch.inputs).value.mean()))  # type: ignore[arg-type,return-value]
        return losses


class NoTerm(Drawn):
    def student_loss(self, student: Any, batch: Batch) -> Losses:
        return Losses()


class NoGradient(Drawn):
    def student_loss(self, student: Any, batch: Batch) -> Losses:
        with torch.no_grad():
            return super().student_loss(student, batch)


class NaNLoss(Drawn):
    def student_loss(self, student: Any, batch: Batch) -> Losses:
        losses = super().student_loss(student, batch)
        losses.add("bad", 1, lambda: student(batch.inputs).value.mean() * torch.nan)
        return losses


class UnknownMove(Drawn):
    def next_move(self) -> str:
        return "aquire"


class UnplannedMove(Drawn):
    def next_move(self) -> str:
        return "acquire"

    def acquire(self) -> Losses:
        return Losses()


class PlannedAcquire(UnplannedMove):
    @classmethod
    def plan(cls, config: Any, steps: int) -> dict[str, int]:
        return {"acquire": steps, "transfer": steps}

    def acquire(self) -> Any:
        return 0.5


class PlanWithoutTransfer(Drawn):
    @classmethod
    def plan(cls, config: Any, steps: int) -> dict[str, int]:
        return {"acquire": steps}


class PlanOfNobody(Drawn):
    @classmethod
    def plan(cls, config: Any, steps: int) -> dict[str, int]:
        return {"dream": steps, "transfer": steps}


class OtherTargets(Drawn):
    def transfer_batch(self) -> Batch:
        batch = super().transfer_batch()
        batch.targets = torch.zeros(3, dtype=torch.int64)
        return batch


class LogitsAlone(Drawn):
    def transfer_batch(self) -> Batch:
        batch = super().transfer_batch()
        return Batch(batch.inputs, teacher_outputs=torch.zeros(8, 4))  # type: ignore[arg-type]


class OneWeight(Drawn):
    def transfer_batch(self) -> Batch:
        batch = super().transfer_batch()
        batch.weights = torch.tensor(1.0)
        return batch


class ImagesAlone(Drawn):
    def transfer_batch(self) -> Any:
        return self.images()


class PlainState(Drawn):
    def state(self) -> dict[str, Any]:
        return {"images": self.images()}


def session(method: type[Method]) -> Session:
    return Session(find_method(method), DrawnConfig(), make_teacher(), make_student(), make_task(), Runtime(), 0, 4)


def one_move(method: type[Method]) -> None:
    made = session(method)
    made.move()
    made.state()


SLIPS = {
    FloatLoss: r"FloatLoss\.student_loss returned Tensor; expected Losses, to which each term is added",
    FloatTerm: "loss term 'mean' is float; expected a tensor",
    NoTerm: r"NoTerm\.student_loss has no term",
    NoGradient: r"NoGradient\.student_loss has no gradient to the student",
    UnknownMove: r"next_move\(\) gave 'aquire', which plan\(\) does not count \(it has transfer\)",
    UnplannedMove: r"next_move\(\) gave 'acquire', which plan\(\) does not count",
    PlannedAcquire: r"PlannedAcquire\.acquire\(\) returned float; expected Losses",
    PlanWithoutTransfer: r"plan\(config, 4\) gave \{'acquire': 4\}; .* 'transfer': 4",
    PlanOfNobody: r"counts moves 'dream', and PlanOfNobody has no method of that name",
    OtherTargets: r"transfer_batch\(\) gave 8 inputs and 3 targets",
    LogitsAlone: r"transfer_batch\(\) gave a Tensor as teacher_outputs; expected Outputs",
    OneWeight: r"transfer_batch\(\) gave 8 inputs and 0 weights",
    ImagesAlone: r"transfer_batch\(\) returned Tensor; expected a Batch",
    PlainState: r"state\(\) names 'images', a Tensor without state_dict",
}


@pytest.mark.parametrize("method", SLIPS)
def test_a_slip_is_answered_by_a_sentence_of_the_contract(method: type[Method]) -> None:
    with pytest.raises(MethodError, match=SLIPS[method]):
        one_move(method)


def test_a_loss_that_is_not_finite_is_named() -> None:
    with pytest.raises(DivergedError, match="transfer/bad is not finite"):
        one_move(NaNLoss)


def test_a_class_that_is_no_whole_method_is_refused_before_anything_is_read() -> None:
    class Half(Method):
        Config = DrawnConfig

    class Loose(Drawn):
        Config: ClassVar[type] = dict

    class Sizeless(Drawn):
        Config: ClassVar[type] = type("Empty", (Strict,), {})

    wrongs = {
        Half: "does not define next_move, plan", Loose: "must be a subclass of sansdata.Strict",
        Sizeless: "lacks steps and transfer", object: "which is no sansdata Method",
    }  # fmt: skip
    for wrong, words in wrongs.items():
        with pytest.raises(MethodError, match=words):
            sansdata.distill("resnet8@nowhere", method=wrong, task="digits")  # type: ignore[arg-type]


# -- what only the suite sees


class Forgetful(Drawn):
    """Counts its batches, and does not say so."""

    count = 0

    def images(self) -> torch.Tensor:
        self.count += 1
        return super().images() * (0.5 + 0.1 * self.count)


class Global(Drawn):
    def images(self) -> torch.Tensor:
        return torch.from_numpy(np.random.rand(8, *self.context.task.shape).astype(np.float32))


class Meddling(Drawn):
    def transfer_batch(self) -> Batch:
        with torch.no_grad():
            next(self.context.teacher.module.parameters()).mul_(0.99)
        return super().transfer_batch()


class Leaking(Drawn):
    """A gradient of one move is left to the next."""

    def transfer_batch(self) -> Batch:
        batch = super().transfer_batch()
        self.layer = getattr(self, "layer", torch.nn.Linear(1, 1))
        self.layer(torch.ones(1, 1)).sum().backward()
        return batch

    def state(self) -> dict[str, Any]:
        self.layer = getattr(self, "layer", torch.nn.Linear(1, 1))
        return {"layer": self.layer}


@pytest.mark.parametrize(
    ("method", "test", "words"),
    [
        (Forgetful, "test_state_is_whole", r"does state\(\) name all that outlives a move"),
        (Global, "test_global_generators_are_left_alone", "global generator of numpy; take context.streams"),
        (Meddling, "test_the_teacher_is_left_as_it_was", "the teacher's weights or buffers changed"),
        (Leaking, "test_nothing_outlives_a_move_but_the_state", "gradients left in 'method.layer'"),
    ],
)
def test_the_suite_names_the_sentence_that_is_broken(method: type[Method], test: str, words: str) -> None:
    suite = type("Suite", (MethodContract,), {"method": method})()
    with pytest.raises(AssertionError, match=words):
        getattr(suite, test)()


@pytest.mark.parametrize("name", ["requires", "models", "reads", "runs", "build_student"])
def test_what_a_method_says_of_itself_is_of_the_contracts_type(name: str, tmp_path: Path) -> None:
    """A method that forgets to return gives None: the sentence names where, and nothing is left behind."""
    given = (lambda self, student: None) if name == "build_student" else classmethod(lambda cls, config: None)
    forgetful = type("Silent", (Drawn,), {name: given})
    with pytest.raises(MethodError, match=rf"Silent\.{name}\(.*\) gave None; expected "):
        sansdata.distill(make_teacher(), make_student(), forgetful, "2steps", tmp_path / "run")
    assert not (tmp_path / "run").exists()


# -- a class in place of a name


def test_a_class_from_a_script_distils_and_resumes(tmp_path: Path) -> None:
    def distil(out: str, **how: Any) -> sansdata.Result:
        return sansdata.distill(
            make_teacher(), make_student(), Drawn, "4steps", tmp_path / out, strict=True, settings={"threads": 1}, **how
        )

    def stop(step: int, _: dict[str, float]) -> None:
        if step == 2:
            import signal

            signal.raise_signal(signal.SIGTERM)

    whole = distil("whole")
    with pytest.raises(Interrupted):
        distil("stopped", on_step=stop)
    resumed = distil("stopped", resume=True)
    for name, value in whole.student.state_dict().items():
        assert torch.equal(value, resumed.student.state_dict()[name]), name
    assert f"{__name__}:Drawn" in (tmp_path / "whole" / "config.yaml").read_text()
    assert "Drawn" in (tmp_path / "whole" / "report.html").read_text()
    with pytest.raises(MethodError, match="a class that was given in Python: give it again"):
        find_method(f"{__name__}:Drawn")
