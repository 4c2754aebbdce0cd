"""BiDf-MKD, "Learning to learn from APIs: black-box data-free meta-learning" (Hu et al., ICML 2023, arXiv 2305.18413).

Of each API, a classifier with a label set of its own that only answers, images are recovered by a generator whose
gradients are asked for. The student is a meta model. On the API's support set it is adapted to the API (inner level),
and its initialisation learns what makes it agree with the API on a query set then (outer level). The query set is
sought near the boundary of what the adapted student knows, since on other images it agrees already and there is
nothing left to learn. Between API tasks it learns from tasks of remembered images, whose classes come from several
APIs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ...columns import Inputs
from ...contracts import Access, Batch, Forward, Losses, OfGradient, Outputs, Questions, Requirements, Stateful
from ...decoding import pixels
from ...errors import MethodError
from ...figures import Drawing, Figure, Finding
from ...memory import Pool, Slot
from ...method import Context
from ...models.at_weights import StudentAt
from ...models.modes import in_mode
from ...objectives.logits import cross_entropy, kl
from ...synthesis.rounds import InRounds, Round, Schedule
from ...tasks import Task
from ...teachers.panel import CAPABILITY, QUERIES, Api, Panel
from ...training.adaptation import adapted, few_shot_accuracy, frozen
from .episodes import Episode, draw_episode
from .recovery import Recovery
from .settings import BiDfMKDConfig

VALIDATION_TASKS = 50


class BiDfMKD(InRounds):
    """Rounds: a support and a query set of each of some APIs, an outer update on them, then replayed tasks.

    Deviation: a round has a fixed number of replayed updates. The released code goes on until the accuracy on them has
    not risen for as many; a run could not be planned so. APIs come in turn, where it draws them.
    """

    Config: ClassVar[type] = BiDfMKDConfig
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {"order": "second"},
        # What the released code computes where it differs from the paper.
        "released": {"order": "second", "divergence": "linear", "distance": "l1"},
        # Minutes on a CPU for small images (ours).
        "small": {
            "tasks": 2, "images": 10, "iterations": 60, "directions": 50, "generator_lr": 0.01, "width": 16,
            "latent": 64, "boundary_after": 0, "replay": 29, "queries": 5, "steps": 300, "view": "crop",
        },
    }  # fmt: skip
    config: BiDfMKDConfig

    @classmethod
    def requires(cls, config: BiDfMKDConfig) -> Requirements:
        access = Access.GRADIENTS if config.recovery == "exact" else Access.SCORES
        return Requirements(access, capabilities=frozenset({CAPABILITY}), outputs=frozenset({"ways"}))

    @classmethod
    def round_of(cls, config: BiDfMKDConfig) -> Round:
        return config.round

    @classmethod
    def questions_on(cls, task: Task, config: BiDfMKDConfig, steps: int, gradient: OfGradient) -> Questions:
        return config.calls_of(task.classes, steps)

    @classmethod
    def rehearsal(cls, config: BiDfMKDConfig) -> BiDfMKDConfig:
        shortest = {"iterations": config.chunk, "tasks": 1, "held_out": 0, "replay": min(1, config.replay)}
        return config.model_copy(update=shortest)

    def __init__(self, config: BiDfMKDConfig, context: Context) -> None:
        super().__init__(config, context)
        panel: Panel = context.teacher.capability(CAPABILITY)
        if config.held_out >= len(panel.apis):
            raise MethodError(
                f"held_out={config.held_out} of the panel's {len(panel.apis)} APIs leaves none to learn from"
            )
        learnt = len(panel.apis) - config.held_out
        self.apis, self.validating = panel.apis[:learnt], panel.apis[learnt:]
        self.number_of = {name: number for number, name in enumerate(panel.classes)}
        self.ways = context.task.classes
        self.recovery = Recovery(config, context, self.ways)
        # Deviation: the oldest of all sets make room, where the released code counts class by class.
        self.memory = Pool(config.memory * config.images * len(panel.classes))
        self.set_apart = Pool(max(1, config.held_out) * self.ways * config.images)
        self.schedule = Schedule(config.round, sets=0)
        self.round = Slot(packed=[], answers=[], weights={})
        """The sets of the round so far, support and query in turn; the weights adapted to the latest support."""
        self.measured = Slot(right=0.0, kept=0, slope=0.0, outer=0.0, query_sets=0)

    # -- the sets

    def acquire(self) -> Losses:
        number = self.schedule["sets"] - self.config.held_out
        if number < 0:
            losses, whole = self.recovery.advance(self.validating[number], None)
            if whole:
                self._remember(self.validating[number], self.set_apart)
                self.schedule["sets"] += 1
            return losses
        api, is_query = self.apis[number // 2 % len(self.apis)], number % 2 == 1
        if self.recovery.fresh and number % self.config.sets_per_round == 0:
            self.round["packed"], self.round["answers"] = [], []
        if self.recovery.fresh and is_query:
            self.round["weights"] = self._task_weights()
        losses, whole = self.recovery.advance(api, self._task_model if is_query and self._seeks_boundary else None)
        if whole:
            self._keep(api, is_query)
            self.schedule["sets"] += 1
            if (number + 1) % self.config.sets_per_round == 0:
                self.schedule.begin_steps()
        return losses

    @property
    def _seeks_boundary(self) -> bool:
        return self.config.boundary > 0 and self.context.progress.steps >= self.config.boundary_after

    def _remember(self, api: Api, memory: Pool) -> Tensor:
        """The finished set, as it is stored, which goes into a memory under the global class ids."""
        images = self.recovery.best
        ids = torch.tensor([self.number_of[name] for name in api.classes])
        memory.add(images, ids[self.recovery.labels.cpu()])
        self.context.counters.add("samples", len(images))
        return pixels.pack(images)

    def _keep(self, api: Api, is_query: bool) -> None:
        """Keeps the finished set for the outer update too, with what the API says of it as it is stored."""
        packed = self._remember(api, self.memory)
        images = self._unpacked(packed)
        with torch.no_grad():
            answers = api(images).value
        self.round["packed"].append(packed)
        self.round["answers"].append(answers.cpu())
        self.measured["right"] += float((answers.argmax(1) == self.recovery.labels).float().sum())
        self.measured["kept"] += len(images)
        if is_query:
            self._measure_query(images, answers)

    def _measure_query(self, images: Tensor, answers: Tensor) -> None:
        """How much the outer level still has to learn from a query set: its loss at the adapted weights, and the norm
        of the gradient there, first order."""
        there = frozen(self._student().at(self.round["weights"]))
        with in_mode(self.context.student, train=True), torch.enable_grad():
            outer = self._divergence(there(images).logits, answers)
            slopes = torch.autograd.grad(outer, list(there.weights.values()))
        self.measured["outer"] += outer.item()
        self.measured["slope"] += torch.stack([slope.square().sum() for slope in slopes]).sum().sqrt().item()
        self.measured["query_sets"] += 1

    def _unpacked(self, packed: Tensor) -> Tensor:
        return self.context.runtime.place(pixels.unpack(packed))

    # -- the student as it is adapted to the latest support set

    def _student(self) -> StudentAt:
        context = self.context

        def forward(module: nn.Module, inputs: Inputs) -> Outputs:
            return context.runtime.forward(
                context.network.around(module), inputs, counters=context.counters, name="student"
            )

        return StudentAt(forward, context.student)

    def _task_weights(self) -> dict[str, Tensor]:
        """After the inner level on the support set that was finished last."""
        images, answers = self._unpacked(self.round["packed"][-1]), self._placed_answers(-1)
        with in_mode(self.context.student, train=True):
            there = adapted(
                frozen(self._student()), lambda at: self._divergence(at(images).logits, answers),
                self.config.inner(self.config.inner_steps),
            )  # fmt: skip
        return {name: weight.detach() for name, weight in there.weights.items()}

    def _task_model(self, images: Tensor) -> Tensor:
        with in_mode(self.context.student, train=True):
            return self._student().at(self.round["weights"])(images).logits

    def _placed_answers(self, place: int) -> Tensor:
        return self.round["answers"][place].to(self.context.runtime.device)

    def _divergence(self, student: Tensor, api: Tensor) -> Tensor:
        """How far the student's logits (B, N) are from the API's, a scalar.

        'linear' is what the released `kl_div(softmax(s), softmax(t))` is learnt by: probabilities stand in it where
        logarithms belong, and the mean runs over classes too.
        """
        if self.config.divergence == "kl":
            return kl(student, api).mean()
        return -(student.softmax(1) * api.softmax(1)).mean()

    # -- the student's step

    def transfer_batch(self) -> Batch:
        made = self.config.round.steps - self.schedule["transfers_left"]
        self.schedule.end_step()
        return self._api_tasks() if made < self.config.distil_updates else self._replayed_tasks()

    def _api_tasks(self) -> Batch:
        """The round's sets, with the APIs' answers."""
        sizes = [len(packed) for packed in self.round["packed"]]
        labels = self.recovery.labels.repeat(len(sizes))
        answers = torch.cat([self._placed_answers(place) for place in range(len(sizes))])
        batch = Batch(self._unpacked(torch.cat(self.round["packed"])), labels, Outputs(answers))
        batch.extras["sizes"] = list(zip(sizes[::2], sizes[1::2]))
        return batch

    def _replayed_tasks(self) -> Batch:
        """Tasks of random classes, whatever their APIs."""
        config, stream = self.config, self.context.streams("episodes")
        episodes = [
            draw_episode(self.memory, self.ways, config.shots, config.queries, stream) for _ in range(config.tasks)
        ]
        place = self.context.runtime.place
        batch = Batch(
            place(torch.cat([part for one in episodes for part in (one.support, one.query)])),
            place(torch.cat([part for one in episodes for part in (one.support_ways, one.query_ways)])),
        )
        batch.extras["sizes"] = [(len(one.support), len(one.query)) for one in episodes]
        return batch

    def student_loss(self, student: Forward, batch: Batch) -> Losses:
        """The outer loss, mean over the tasks: of the student as each task's support set adapts it."""
        if not isinstance(student, StudentAt):
            raise MethodError("bidf-mkd adapts the student within its loss, where features.* cannot watch it")
        config, losses = self.config, Losses()
        replayed = batch.teacher_outputs is None
        inner = config.inner(config.replay_steps if replayed else config.inner_steps)
        outer, start = [], 0
        for support, query in batch.extras["sizes"]:
            places = slice(start, start + support), slice(start + support, start + support + query)
            there = adapted(student, lambda at, place=places[0]: self._level(at, batch, place), inner)
            outer.append(self._level(there, batch, places[1]))
            start += support + query
        losses.add("replay" if replayed else "distil", 1, lambda: torch.stack(outer).mean())
        return losses

    def _level(self, student: StudentAt, batch: Batch, place: slice) -> Tensor:
        """The loss of one level on the inputs at `place`: beside the API's answers, or where none are there, labels."""
        logits = student(batch.images[place]).logits
        if batch.teacher_outputs is not None:
            return self._divergence(logits, batch.teacher_outputs.logits[place])
        assert batch.targets is not None
        return cross_entropy(logits, batch.targets[place]).mean()

    # -- what it says of itself

    def validation(self, student: nn.Module) -> float | None:
        """Few-shot accuracy on images of the APIs that were held out, the same tasks for every snapshot."""
        if not len(self.set_apart):
            return None
        config, stream = self.config, self.context.streams.afresh("validation")
        shots = max(1, min(config.shots, config.images // 2))
        queries = max(1, min(config.queries, config.images - shots))
        at = self._student().of(student)
        with in_mode(student, train=True):
            return _mean([
                self._accuracy(at, draw_episode(self.set_apart, self.ways, shots, queries, stream))
                for _ in range(VALIDATION_TASKS)
            ])  # fmt: skip

    def _accuracy(self, student: StudentAt, episode: Episode) -> float:
        place = self.context.runtime.place
        support, query = (
            (place(images), place(ways))
            for images, ways in ((episode.support, episode.support_ways), (episode.query, episode.query_ways))
        )
        return few_shot_accuracy(student, support, query, self.config.inner(self.config.inner_steps))

    def findings(self) -> list[Finding]:
        measured, apis = self.measured, (*self.apis, *self.validating)
        counts = [self.context.counters[f"{QUERIES}{api.name}"] for api in apis]
        findings: list[Finding] = [
            Figure("recovery_accuracy", measured["right"] / max(1, measured["kept"]), "share",
                   "recovered images that their API takes for what they were made for", "higher"),
            Drawing("queries_by_api", "bars", counts, "what each API was asked, images", tuple(a.name for a in apis)),
        ]  # fmt: skip
        if sets := measured["query_sets"]:
            findings += [
                Figure("outer_loss", measured["outer"] / sets, "number", "of a query set at the adapted student"),
                Figure("outer_gradient", measured["slope"] / sets, "number",
                       "its norm there: near 0, a query set teaches nothing"),
            ]  # fmt: skip
        return findings

    def state(self) -> Mapping[str, Stateful]:
        return {
            "memory": self.memory, "set_apart": self.set_apart, **self.recovery.state(), "schedule": self.schedule,
            "round": self.round, "measured": self.measured,
        }  # fmt: skip


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
