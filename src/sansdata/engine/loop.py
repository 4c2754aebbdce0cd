"""The moves of a session inside a run directory, under a budget: stops anywhere, continues bitwise."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from .. import columns
from ..compress.few_bits import released
from ..contracts import Losses, Stateful
from ..errors import (
    BudgetSpent,
    DivergedError,
    Interrupted,
    NoDataViolation,
    PeerLost,
    ResumeError,
    SansdataError,
    first_line,
)
from ..files import by_step, remove, write_atomic
from ..kinds.index import input_kind
from ..memory import Reservoir
from ..settings import Budget, EngineSettings
from . import selection
from .budget import REPLAN_AT, MoveCosts, Plan, left, outlook, replan, timed_move, too_little
from .checkpoint import Checkpoints
from .facts import checked
from .guard.ledger import Ledger
from .kept_samples import archive
from .monitor import Monitor
from .out_of_memory import is_out_of_memory
from .questions import WATCHED
from .run_directory import RunDirectory
from .session import Session
from .signals import GRACE, StopRequest

GRID, DRAWN = 64, 12
"""Samples that are kept at once; the second where answers are drawn into them."""
OFFERED = 8
"""Samples of each student batch that are offered to the reservoir, from all of it: a batch may have several parts."""
SAVING_SHARE = 0.05
"""Of the time, that saves before long moves may take: a signal does not wait for those."""


class Loop:
    """Runs a session to the end of its plan. `facts` is what it must know to continue elsewhere."""

    def __init__(
        self,
        session: Session,
        plan: Plan,
        budget: Budget | None,
        directory: RunDirectory,
        settings: EngineSettings,
        ledger: Ledger,
        on_step: Any = None,
    ) -> None:
        self.session, self.plan, self.budget = session, plan, budget
        self.directory, self.settings, self.ledger, self.on_step = directory, settings, ledger, on_step
        self.runtime = session.runtime
        self.first = self.runtime.rank == 0
        self.checkpoints = Checkpoints(directory.path / "checkpoints", self.runtime)
        self.kind = input_kind(session.context.task)
        capacity = selection.capacity(session.context.teacher.network.outputs)
        self.reservoir = Reservoir(capacity, self.kind)
        self.costs = MoveCosts()
        self.latest: dict[str, float] = {}
        self.agreement: float | None = None
        self.marks = {"snapshots": 0, "sample_grids": 0, "replans": 0}
        self.elapsed, self.cpu, self.metrics_bytes = 0.0, 0.0, 0
        self.saved, self.saved_at, self.saving = "", 0.0, 0.0
        """Name of the newest checkpoint, when it was written and how long that took."""
        self.resumed_at: int | None = None
        """Student steps that had been made when the run was continued."""
        self.logged = 0
        """The student step of the newest line of metrics.jsonl that this process wrote."""
        self.speed: float | None = None
        self.monitor = Monitor(directory, settings.tensorboard, self.runtime.rank, self.kind.unit)

    # -- what outlives the process

    def state(self) -> Mapping[str, Stateful]:
        return {**self.session.state(), "reservoir": self.reservoir, "costs": self.costs}

    def facts(self) -> dict[str, Any]:
        return {
            "elapsed": self.elapsed, "cpu": self.cpu, "plan": self.plan.state(), "latest": self.latest,
            "agreement": self.agreement, "marks": self.marks, "metrics_bytes": self.metrics_bytes,
        }  # fmt: skip

    def resume_from(self, checkpoint: Path, renewed: bool = False) -> None:
        """Restores everything from a whole checkpoint but the plan. renewed: some settings were changed by force, and
        those of the optimisers are the present ones. Raises ResumeError."""
        state = self.state()
        optimizers = [part for part in state.values() if isinstance(part, torch.optim.Optimizer)]
        present = [[dict(group) for group in one.param_groups] for one in optimizers]
        facts = checked(self.checkpoints.load(checkpoint, state))
        if renewed:
            for optimizer, groups in zip(optimizers, present):
                for group, settings in zip(optimizer.param_groups, groups):
                    group.update({name: value for name, value in settings.items() if name != "params"})
        self.saved = checkpoint.name
        self.elapsed, self.cpu = facts["elapsed"], facts.get("cpu", 0.0)
        self.latest, self.agreement = facts["latest"], facts["agreement"]
        self.marks, self.metrics_bytes = self.marks | facts["marks"], facts["metrics_bytes"]
        self.resumed_at = self.session.context.progress.steps
        self._forget_later_files(self.session.context.progress.steps)

    def resume_from_nothing(self) -> None:
        """A run that ended before its first checkpoint begins again."""
        self._forget_later_files(0)

    def _forget_later_files(self, step: int) -> None:
        """Snapshots and grids that were taken after the checkpoint will be taken again."""
        if not self.first:
            return
        for name, suffix in (("snapshots", ".safetensors"), ("samples", ".npz")):
            for taken, path in by_step(self.directory.path / name, suffix):
                if taken > step:
                    remove(path)

    # -- running

    def run(self, request: StopRequest) -> str:
        """Gives 'done', or 'truncated' where the budget ended before the plan.

        Raises Interrupted after a signal (saved first), DivergedError, NoDataViolation, PeerLost, BudgetSpent.
        """
        self.session.context.progress.planned = self.plan.steps
        self.monitor.open(self.metrics_bytes, self.plan.steps)
        self.runtime.overdue = lambda: request.overdue
        try:
            with request.waits_for_moves():
                status = self._run(request)
        except (KeyboardInterrupt, PeerLost) as fault:
            if isinstance(fault, PeerLost) and request.name is None:
                raise
            where = f"a move after step {self.session.context.progress.steps}"
            what = f"in {where}, which is lost" if isinstance(fault, KeyboardInterrupt) else f"in {where}: {fault}"
            raise Interrupted(
                f"stopped by {request.name or 'a signal'} {what}. {self._saved()} Continue with --resume."
            ) from None
        finally:
            self.runtime.overdue = lambda: False
            self.monitor.close()
        if request.name is not None:  # it came with the last move
            raise Interrupted(f"stopped by {request.name} after the last step. {self._saved()} Continue with --resume.")
        return status

    def _run(self, request: StopRequest) -> str:
        progress = self.session.context.progress
        start, cpu_start = time.perf_counter() - self.elapsed, time.process_time() - self.cpu
        self.saved_at, status = time.perf_counter(), "done"
        self.monitor.say(outlook(self.plan, self.costs))
        while progress.steps < self.plan.steps:
            if self.runtime.agree(request.name is not None):
                self._save()
                raise Interrupted(
                    f"stopped by {request.name or 'a signal to another process'} at step {progress.steps}. "
                    f"{self._saved()} Continue with --resume."
                )
            if self.runtime.agree(self._budget_spent()):
                status = "truncated"
                break
            kind, losses, cost = self._move()
            self.check_reads()
            self.costs.add(kind, cost)
            self.elapsed, self.cpu = time.perf_counter() - start, time.process_time() - cpu_start
            self.session.context.counters.add(f"seconds_{kind}", cost["seconds"])
            self._note(kind, losses)
            if kind == "transfer":
                self._after_step(cost)
            if self.costs.count[kind] == 2 and kind not in self.plan.cost_per_move:
                self.monitor.say(outlook(self.plan, self.costs))
            self._show()
            if self.runtime.agree(self._save_is_due()):
                self._save()
        if progress.steps == 0:
            self._save()
            raise BudgetSpent(
                f"{too_little(self.plan, self.costs, self._spent(), self._unit)} {self._saved()} "
                "Continue with --resume --force and a larger --budget."
            )
        self._require_finite_student()
        self._snapshot()
        if progress.steps not in (self.logged, self.resumed_at):
            self._log(self.agreement)
        self._save()
        return status

    def _move(self) -> tuple[str, Losses, dict[str, float]]:
        """Raises ResumeError where a move fails before the first student step after a restart, in a way that none of
        ours does: each part of the state was read, and together they are no state."""
        try:
            return timed_move(self.session)
        except (SansdataError, OSError):
            raise
        except Exception as fault:
            if self.session.context.progress.steps != self.resumed_at or is_out_of_memory(fault):
                raise
            raise ResumeError(
                f"{self.checkpoints.directory / self.saved} was read, and no step can be made from there "
                f"({first_line(fault)}): its parts do not belong together. Take it away to continue from the one "
                "before, or begin anew"
            ) from fault

    def _save_is_due(self) -> bool:
        """Now and then; and before a move that a signal would not wait for, as often as saving costs little."""
        since = time.perf_counter() - self.saved_at
        mean = self.costs.mean().get(self.session.method.next_move(), {})
        long = mean.get("seconds", 0.0) > GRACE and since * SAVING_SHARE >= self.saving
        return since >= self.settings.checkpoint_seconds or long

    def _save(self) -> None:
        start = time.perf_counter()
        try:
            with self.checkpoints.together():
                self.ledger.write()
            path = self.checkpoints.save(self.session.context.progress.steps, self.state(), self.facts())
        except OSError as fault:
            self._require_in_place()
            # The student goes on; what was saved before stands.
            self.monitor.warn("no checkpoint was written", fault)
        else:
            self.saved = path.name
            self.monitor.event(f"saved {path.name}")
        self.saved_at = time.perf_counter()
        self.saving = self.saved_at - start

    def check_reads(self) -> None:
        """Raises NoDataViolation in a strict run that read what nobody declared. Of a run that was moved its own files
        are such reads, so that is said in its place."""
        try:
            self.ledger.check()
        except NoDataViolation:
            self._require_in_place()
            raise

    def _require_in_place(self) -> None:
        if not self.directory.path.is_dir():
            gone = f"{self.directory.path} was moved or removed during the run"
            raise SansdataError(f"{gone}. Continue with --out where it is now, and --resume") from None

    def _saved(self) -> str:
        """What a later process continues from, in a sentence."""
        return f"Saved: {self.saved}." if self.saved else "Nothing was saved yet: it begins anew."

    def _show(self) -> None:
        progress = self.session.context.progress
        line = {"step": progress.steps, "losses": self.latest, "samples_per_second": self.speed}
        self.monitor.show(line | {"agreement": self.agreement}, left(self.plan, self.costs), self.plan.steps)

    def _note(self, kind: str, losses: Losses) -> None:
        names = losses.values()
        if names:
            values = torch.stack(list(names.values())).tolist()
            self.latest |= {f"{kind}/{name}": value for name, value in zip(names, values)}

    def _after_step(self, cost: Mapping[str, float]) -> None:
        session, progress = self.session, self.session.context.progress
        batch = session.last_batch
        assert batch is not None
        self.speed = columns.count(batch.inputs) / cost["seconds"] * self.runtime.world
        self.reservoir.offer(self.kind.fitted(columns.evenly(batch.inputs, OFFERED)), session.streams("reservoir"))
        if self._passed("replans", len(REPLAN_AT), REPLAN_AT):
            self._replan()
        if self._passed("sample_grids", self.settings.sample_grids) and self.first:
            with self.monitor.optional("a grid of samples"):
                self._keep_grid()
        if progress.steps < self.plan.steps:  # the last step is looked at, and logged, behind the loop
            if snapshot := self._passed("snapshots", self.settings.snapshots):
                self._snapshot()
            if snapshot or progress.steps % self.settings.log_every == 0:
                self._log(self.agreement if snapshot else None)
        if self.on_step is not None and self.first:
            self.on_step(progress.steps, dict(self.latest))

    def _passed(self, mark: str, count: int, points: tuple[float, ...] | None = None) -> bool:
        """Whether the progress passed the next of `count` points, evenly spread unless given; moves on if so."""
        done = self.marks[mark]
        if done >= count:
            return False
        point = points[done] if points else (done + 1) / count
        if self.session.context.progress.value < point:
            return False
        self.marks[mark] = done + 1
        return True

    def _log(self, agreement: float | None) -> None:
        progress = self.session.context.progress
        line: dict[str, Any] = {
            "step": progress.steps,
            "move": self.session.moves,
            "progress": progress.value,
            "losses": dict(self.latest),
            "lr": self.session.optimizer.param_groups[0]["lr"],
            "seconds": round(self.elapsed, 3),
            "samples_per_second": round(self.speed or 0.0, 1),
            "queries": int(self.session.context.counters["teacher_forwards"] * self.runtime.world),
        }
        if agreement is not None:
            line["agreement"] = agreement
        self.metrics_bytes, self.logged = self.monitor.log(line), progress.steps

    def _replan(self) -> None:
        """Rank 0 decides, from its own clock; the others follow."""
        if self.budget is None or self.budget.unit == "steps" or self.plan.queries is not None:
            return
        done = self.session.context.progress.steps
        if self.first:
            method, config = type(self.session.method), self.session.method.config
            if replan(self.plan, self.budget, method, config, done, self._spent(), self.costs):
                self.monitor.event(f"re-planned at step {done}: {self.plan.replans[-1]}")
                with self.monitor.optional("plan.json"):
                    self.directory.write_json("plan.json", self.plan.to_dict())
        plan: Any = self.runtime.from_rank_0(self.plan.state())
        self.plan = Plan(**plan)
        self.session.context.progress.planned = self.plan.steps

    def _spent(self) -> float:
        counters = self.session.context.counters
        return {
            "seconds": self.plan.measured + self.elapsed,
            "steps": self.session.context.progress.steps,
            "samples": counters["samples"],
            "queries": counters["teacher_forwards"],
        }[self._unit]

    @property
    def _unit(self) -> str:
        return self.budget.unit if self.budget else "steps"

    def _budget_spent(self) -> bool:
        """Whether the next move could overspend; what it costs is known from those before it."""
        if self.budget is None or self.budget.unit == "steps":
            return False
        if self.plan.queries is not None:  # the plan is exact; who asks beside it is stopped
            return self._spent() > self.budget.amount
        kind = self.session.method.next_move()
        # Of what is counted the highest: one move of a kind may ask the teacher, and the next learn what it answered.
        cost_by_kind = self.costs.mean() if self.budget.unit == "seconds" else self.costs.most
        mean = cost_by_kind.get(kind) or self.plan.cost_per_move.get(kind, {})
        return self._spent() + mean.get(self.budget.unit, 0.0) > self.budget.amount

    # -- keepsakes

    def _snapshot(self) -> None:
        session = self.session
        if self.first:
            with self.monitor.optional("a snapshot"):
                folder = self.directory.folder("snapshots")
                selection.save_snapshot(
                    folder, session.context.progress.steps, released(session.method.released(session.student))
                )
        packed, context = self.reservoir.packed, session.context
        assert packed is not None
        if not context.network.outputs.compares:
            return
        watched = columns.take(packed, slice(WATCHED))
        student = selection.answers(context.network, watched, context)
        close = context.network.outputs.agreement(student, selection.answers(context.teacher.network, watched, context))
        self.agreement = None if close is None else close["agreement"]

    def _keep_grid(self) -> None:
        session, batch = self.session, self.session.last_batch
        assert batch is not None
        teacher, context = session.context.teacher.network, session.context
        outputs = teacher.outputs
        packed = self.kind.pack(self.kind.fitted(columns.take(batch.inputs, slice(DRAWN if outputs.draws else GRID))))
        arrays = self.kind.to_arrays(packed)
        if batch.teacher_outputs is not None:
            answers = batch.teacher_outputs.value[: columns.count(packed)]
        else:  # a method that does not ask the teacher about what it teaches: for watching only, and not counted
            askable = outputs.comparable and not context.teacher.asked_jointly
            answers = selection.answers(teacher, packed, context) if askable else None
        if answers is not None:
            arrays["logits"] = outputs.pack(answers).numpy()
        if outputs.draws:
            arrays["student"] = outputs.pack(selection.answers(context.network, packed, context)).numpy()
        step = session.context.progress.steps
        write_atomic(self.directory.folder("samples") / f"step-{step:09d}.npz", archive(arrays))

    def _require_finite_student(self) -> None:
        for name, value in self.session.student.state_dict().items():
            if value.is_floating_point() and not bool(torch.isfinite(value).all()):
                raise DivergedError(f"the student's '{name}' is not finite after the last step; lower transfer.lr")
