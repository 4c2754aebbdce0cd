"""AS-DFD: vectors move towards the wanted class and away from the student, and what comes of them are words."""

from __future__ import annotations

from typing import Any

import torch
from tiny import WORLDS

from sansdata.engine.session import Session
from sansdata.kinds.index import input_kind
from sansdata.methods.as_dfd import ASDFD
from sansdata.methods.index import method_config
from sansdata.runtime import Runtime
from sansdata.synthesis.words import Words

WORLD = WORLDS["tokens"]


def session(**options: Any) -> Session:
    config = method_config("as-dfd", "default", {"batch": 16, "transfer": {"batch": 8}} | options)
    return Session(ASDFD, config, WORLD.teacher(), WORLD.student(), WORLD.task, Runtime(), 5, 30)


def words() -> Words:
    return Words(session().context, input_kind(WORLD.task))  # type: ignore[arg-type]


def test_a_words_own_vector_comes_nearest_to_it_and_is_all_of_it() -> None:
    table = words()
    ids = torch.tensor([[3, 7, 39], [1, 2, 3]])
    mask = torch.ones(2, 3, dtype=torch.bool)
    choices = table.nearest(table.table[ids], mask, 4)
    assert torch.equal(choices[:, :, 0], ids)
    vectors = table.table[ids] + 0.3 * torch.randn(
        2, 3, table.table.shape[1], generator=torch.Generator().manual_seed(0)
    )
    squares = torch.cdist(vectors.double(), table.plain.double()).square()
    wanted = table.ids[squares.topk(4, largest=False).indices]
    assert torch.equal(table.nearest(vectors, mask, 4), wanted)
    shares = table.shares(vectors, wanted)
    near = squares.topk(4, largest=False).values
    assert torch.allclose(shares.double(), (-near / float(table.width)).softmax(2), atol=1e-5)


def test_padding_is_no_word() -> None:
    assert WORLD.task.inputs.padding not in words().ids


def test_iterations_bring_the_wanted_class() -> None:
    def share(iterations: int) -> float:
        made = session(iterations=iterations, chunk=iterations, difficulty=0.0, near=0.0, fresh=0.0, vector_lr=0.05)
        made.move()
        method: Any = made.method
        inputs = {"tokens": torch.zeros(16, 12, dtype=torch.int64), "mask": method.schedule["mask"]}
        answers = made.context.teacher({**inputs, "vectors": method.guess.pixels.detach()}).logits
        return float((answers.argmax(1) == method.guess.targets).float().mean())

    assert share(40) > 0.9 > share(1)


def test_difficulty_moves_the_student_further_from_its_teacher() -> None:
    def gap(difficulty: float) -> float:
        made = session(difficulty=difficulty, iterations=12, harder=12, chunk=12, near=0.0, fresh=0.0, vector_lr=0.5)
        made.advance(3)  # a batch and two student steps: only then is the student asked
        losses = made.move()[1].values()
        if difficulty:
            return float(-losses["easy"])
        method: Any = made.method
        inputs = method._mixture(method.guess.pixels.detach(), method._nearest(method.guess.pixels))
        student, teacher = made.context.student_outputs(inputs).logits, made.context.teacher(inputs).logits
        return float(torch.nn.functional.kl_div(student.log_softmax(1), teacher.softmax(1), reduction="batchmean"))

    assert gap(5.0) > gap(0.0)


def test_a_mixture_can_be_taught_beside_whole_words() -> None:
    made = session(enters="mixture", fresh=0.5, choices=3)
    while made.last_batch is None:
        made.move()
    inputs: Any = made.last_batch.inputs
    assert inputs["choices"].shape == (8, 12, 3)
    assert torch.allclose(inputs["shares"].sum(2), torch.ones(8, 12), atol=1e-6)
    assert torch.equal(inputs["shares"][4:, :, 0], torch.ones(4, 12))
