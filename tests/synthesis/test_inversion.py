"""What the inversion methods share: their losses on one view, and a batch that is made over several moves."""

from __future__ import annotations

import pytest
import torch
from tiny import make_student, make_task, make_teacher

from sansdata.contracts import Counters, Progress
from sansdata.engine.encode import decode, encode
from sansdata.method import Context
from sansdata.network import Network
from sansdata.objectives.batch_stats import BatchStatistics
from sansdata.objectives.logits import cross_entropy, decision_adversarial
from sansdata.runtime import Runtime
from sansdata.streams import Streams
from sansdata.synthesis.augment import augment
from sansdata.synthesis.inner_loop import InnerLoop
from sansdata.synthesis.inversion_losses import inversion_losses
from sansdata.synthesis.labels import class_blocks


def make_context() -> Context:
    counters, runtime, teacher = Counters(), Runtime(), make_teacher()
    teacher.counters = counters
    student = make_student().eval().requires_grad_(False)
    return Context(make_task(), teacher, Network.of(student, make_task()), Streams(3), Progress(), counters, runtime)


def test_losses_are_those_of_one_augmented_view():
    context, images = make_context(), torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    targets, norms = torch.tensor([0, 1, 2, 3, 0, 1]), context.teacher.inside.batch_norms
    statistics = BatchStatistics(context.teacher.module, norms)
    losses, outputs = inversion_losses(
        images, targets, context, statistics, ce=2.0, bn=3.0, adversarial=0.5, view="crop+flip", taps=["layer1"]
    )
    seen = augment(images, "crop+flip", Streams(3)("synthesis-view"))
    wanted = context.teacher(seen, [*statistics.taps, "layer1"])
    student = context.student_outputs(seen).logits
    assert torch.equal(outputs.logits, wanted.logits)
    assert torch.equal(outputs.taps["layer1"], wanted.taps["layer1"])
    total = (
        2 * cross_entropy(wanted.logits, targets).mean()
        + 3 * statistics(wanted.taps)
        + 0.5 * decision_adversarial(student, wanted.logits).mean()
    )
    assert losses.total().item() == pytest.approx(total.item(), rel=1e-6)


def test_without_its_weight_the_student_is_not_asked():
    context = make_context()
    statistics = BatchStatistics(context.teacher.module, ())
    images, targets = torch.rand(2, 1, 8, 8), torch.tensor([0, 1])
    losses, _ = inversion_losses(images, targets, context, statistics, ce=1.0, bn=0.0, adversarial=0.0, view="none")
    assert set(losses.terms) == {"ce"}
    assert context.counters["student_forwards"] == 0
    assert context.counters["teacher_forwards"] == 2


def test_a_tap_that_is_read_twice_is_asked_for_once():
    context = make_context()
    statistics = BatchStatistics(context.teacher.module, context.teacher.inside.batch_norms)
    images, targets = torch.rand(2, 1, 8, 8), torch.tensor([0, 1])
    _, outputs = inversion_losses(
        images, targets, context, statistics, ce=1.0, bn=1.0, adversarial=0.0, view="none", taps=statistics.taps
    )
    assert set(outputs.taps) == set(statistics.taps)


# -- a batch under way


def test_a_loop_is_cut_into_moves_of_at_most_a_chunk():
    loop, moves = InnerLoop(7, 3), []
    loop.begin(torch.zeros(2, dtype=torch.int64))
    while not loop.finished:
        moves.append(loop.in_this_move)
        for _ in range(moves[-1]):
            loop.offer(1.0, images=torch.zeros(2))
    assert moves == [3, 3, 1]


def test_the_lowest_loss_is_kept_and_a_first_nan_stands():
    loop = InnerLoop(4, 4)
    loop.begin(torch.zeros(1, dtype=torch.int64))
    for loss in (3.0, 1.0, 2.0):
        loop.offer(loss, images=torch.tensor([loss]))
    assert loop.best["images"].tolist() == [1.0]
    loop.begin(torch.zeros(1, dtype=torch.int64))
    assert loop.best == {}
    loop.offer(float("nan"), images=torch.tensor([5.0]))
    assert loop.best["images"].tolist() == [5.0]


def test_what_is_kept_does_not_follow_the_graph():
    loop = InnerLoop(2, 2)
    loop.begin(torch.zeros(1, dtype=torch.int64))
    loop.offer(1.0, images=torch.ones(1, requires_grad=True) * 2)
    assert not loop.best["images"].requires_grad


def test_a_loop_goes_on_from_its_state():
    loop, other, tensors = InnerLoop(5, 2), InnerLoop(5, 2), {}
    loop.begin(torch.tensor([1, 0]))
    loop.offer(2.0, images=torch.rand(2, 1, 3, 3), features=torch.rand(2, 4))
    cpu = torch.device("cpu")
    other.load_state_dict(decode(encode(loop.state_dict(), "loop", tensors, cpu), tensors, cpu))
    assert (other.iteration, other.lowest, other.targets.tolist()) == (1, 2.0, [1, 0])
    assert all(torch.equal(other.best[name], loop.best[name]) for name in ("images", "features"))


# -- labels in blocks


@pytest.mark.parametrize(("count", "classes"), [(12, 4), (14, 4), (3, 5), (0, 3)])
def test_class_blocks_hold_every_class_in_order(count, classes):
    labels = class_blocks(count, classes, torch.Generator().manual_seed(0)).tolist()
    assert len(labels) == count
    whole = count // classes * classes
    assert labels[:whole] == list(range(classes)) * (count // classes)
    assert len(set(labels[whole:])) == count % classes
