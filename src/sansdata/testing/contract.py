"""What every method keeps, as classes of tests. Assertions say which sentence of docs/adding-a-method.md is broken."""

from __future__ import annotations

import copy
import json
import random
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from ..config import merged
from ..engine.encode import decode, encode
from ..engine.run import run
from ..engine.session import Session
from ..errors import ConfigError, Interrupted
from ..method import Method
from ..methods.index import find_method, method_config, name_of
from ..models.modes import fixed
from ..models.tensor_file import read_safetensors
from ..runtime import Runtime
from ..settings import RunSettings
from ..teachers.base import fingerprint
from .worlds import WORLDS, World, make_pool, pool_images

SEED = 7


class Moves:
    """A method at work in memory: it learns, its state is whole, it keeps to itself.

    method: the class, or its name. options: settings under which a few moves pass through everything it does. world:
    one of `worlds.WORLDS`. moves_apart: (n, m) of the test that the state is whole: taken after n moves, compared after
    m more; n should hold the middle of what the method does over several moves. learns: options of the transfer, laid
    over `options` where the loss is to fall.
    """

    method: ClassVar[type[Method] | str]
    options: ClassVar[Mapping[str, Any]] = {"transfer": {"batch": 8}}
    world: ClassVar[str] = "image"
    moves_apart: ClassVar[tuple[tuple[int, int], ...]] = ((1, 6), (5, 9))
    learns: ClassVar[Mapping[str, Any]] = {}

    # -- what the tests work on

    @property
    def cls(self) -> type[Method]:
        return find_method(type(self).method)

    @property
    def place(self) -> World:
        return WORLDS[type(self).world]

    def config(self, **more: Any) -> Any:
        return method_config(type(self).method, "default", merged(dict(self.options), more))

    def session(self, config: Any = None, steps: int = 40) -> Session:
        world, config = self.place, self.config() if config is None else config
        pool = make_pool(world.task.shape) if self.cls.requires(config).pool else None
        return Session(
            self.cls, config, world.teacher(), world.student(), world.task, Runtime(), SEED, steps, None, pool
        )

    # -- tests

    def test_defaults_and_presets_validate(self) -> None:
        plain = method_config(type(self).method, "default", {})
        for preset in self.cls.presets:
            assert method_config(type(self).method, preset, {}) != plain, f"preset '{preset}' changes nothing"

    def test_its_plan_has_a_transfer_a_step_and_its_rehearsal_every_move(self) -> None:
        for config in (self.cls.Config(), self.config()):
            last = 0
            for steps in (1, 2, 7, 1000):
                plan = self.cls.plan(config, steps)
                assert plan["transfer"] == steps, f"plan(config, {steps}) has {plan['transfer']} transfers"
                assert sum(plan.values()) >= last, "plan() has fewer moves for more steps"
                last = sum(plan.values())
        config = self.config()
        session = self.session(self.cls.rehearsal(config))
        kinds = {session.move()[0] for _ in range(50)}
        assert kinds == set(self.cls.plan(config, 1)), "rehearsal(): every kind of move must come within 50 moves"

    def test_what_it_lends_is_part_of_its_state(self) -> None:
        session = self.session(self.config())
        missing = set(self.cls.lends) - session.method.state().keys()
        assert missing == set(), f"lends names {', '.join(sorted(missing))}, which state() does not have"

    def test_its_loss_on_a_fixed_batch_falls(self) -> None:
        session = self.session(self.config(transfer={"lr": 0.05, **self.learns}), steps=60)
        while session.last_batch is None:
            session.move()
        batch = session.last_batch

        def loss() -> float:
            student = copy.deepcopy(session.trained)
            with torch.no_grad(), fixed(student, train=True):
                return float(session.method.student_loss(session.student_of(student), batch).total())

        start = loss()
        while session.context.progress.steps < 60:
            session.move()
        end = loss()
        assert end < 0.7 * start, f"after 60 steps the loss on its first batch is {end:.3g} and was {start:.3g}"

    def test_state_is_whole(self) -> None:
        """A fresh session that is given the state goes on exactly as the one that it was taken from."""
        for before, after in self.moves_apart:
            first, second = self.session(), self.session()
            first.advance(before)
            saved = frozen_state(first)
            torch.manual_seed(before)  # the global generator must not matter
            restore(second, *saved)
            assert_same_state(first, second, f"right after state() of {before} moves was restored")
            first.advance(after)
            second.advance(after)
            assert_same_state(first, second, f"{after} moves after state() of {before} was restored")

    def test_nothing_outlives_a_move_but_the_state(self) -> None:
        """Gradients above all: they would be added to the next move's, and are lost on resume."""
        session = self.session()
        for _ in range(12):
            kind, _ = session.move()
            for part, value in session.state().items():
                if isinstance(value, nn.Module):
                    kept = [name for name, p in value.named_parameters() if p.grad is not None]
                    assert kept == [], f"after a move '{kind}' there are gradients left in '{part}': {kept}"

    def test_global_generators_are_left_alone(self) -> None:
        """Draws come from context.streams: nothing of ours may move the caller's generators, or follow them."""
        session, before = self.session(), generators()
        session.advance(6)
        moved = [name for name, value in generators().items() if value != before[name]]
        assert moved == [], f"moves draw from the global generator of {', '.join(moved)}; take context.streams('name')"

    def test_the_teacher_is_left_as_it_was(self) -> None:
        """Its weights, its modes and its buffers."""
        session = self.session()
        module = session.context.teacher.module
        before = fingerprint(module)
        session.advance(9)
        assert fingerprint(module) == before, "the teacher's weights or buffers changed"
        assert not any(part.training for part in module.modules()), "a part of the teacher is in training mode"
        assert not any(p.requires_grad for p in module.parameters()), "a parameter of the teacher asks for gradients"
        assert all(p.grad is None for p in module.parameters()), "a gradient is left in the teacher"

    def test_every_trained_parameter_gets_a_gradient(self) -> None:
        session = self.session(self.config(transfer={"weight_decay": 0.0, "optimizer": "adam"}))
        session.advance(8)
        optimizers = [value for value in session.state().values() if isinstance(value, torch.optim.Optimizer)]
        assert session.optimizer in optimizers
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                for p in group["params"]:
                    assert p in optimizer.state, f"a parameter of shape {tuple(p.shape)} was never stepped"
        student = {id(p): name for name, p in session.trained.named_parameters() if p.requires_grad}
        zero = [student[id(p)] for p, state in session.optimizer.state.items() if not state["exp_avg"].any()]
        assert zero == [], f"parameters of the student without a gradient: {zero}"
        assert len(session.optimizer.state) == len(student)


class Runs(Moves):
    """A method in whole runs: strict, stopped and resumed, on a budget."""

    def run(
        self,
        out: Path,
        budget: str = "8steps",
        resume: bool = False,
        stop: int = 0,
        options: Mapping[str, Any] | None = None,
    ) -> Path:
        """stop: the student step after which a signal comes; 0 lets the run come to its end."""
        world = self.place
        settings: dict[str, Any] = {
            "method": name_of(self.cls), "options": merged(dict(self.options), options or {}), "budget": budget,
            "strict": True, "threads": torch.get_num_threads(), "device": "cpu", "precision": "fp32", "seed": SEED,
            "engine": {"snapshots": 2, "sample_grids": 1, "log_every": 1},
        }  # fmt: skip
        if self.cls.requires(self.config()).pool:
            settings["pool"] = str(out.with_name("pool.npz"))
            np.savez(settings["pool"], x=pool_images(world.task.shape))

        def on_step(step: int, _: dict[str, float]) -> None:
            if step == stop:
                signal.raise_signal(signal.SIGINT)

        return run(
            RunSettings.model_validate(settings), out, world.teacher(), world.student(), self.cls, resume=resume,
            on_step=on_step,
        )  # fmt: skip

    def test_a_strict_run_opens_no_data_and_makes_the_moves_of_its_plan(self, tmp_path: Path) -> None:
        before = generators()
        out = self.run(tmp_path / "run")
        moved = [name for name, value in generators().items() if value != before[name]]
        assert moved == [], f"the run moved the global generator of {', '.join(moved)}"
        ledger, plan = (json.loads((out / f"{name}.json").read_text()) for name in ("ledger", "plan"))
        assert ledger["violations"] == []
        last, cost = lines(out)[-1], json.loads((out / "summary.json").read_text())["cost"]
        made, planned = last["move"], sum(plan["moves"].values())
        assert (last["step"], made) == (8, planned), f"{made} moves were made and plan() has {planned}"
        assert cost["samples"] > 0, "no samples were counted: context.counters.add('samples', len(images))"
        assert cost["teacher_forwards"] > 0, "the teacher was never asked through context.teacher or context.teach"

    def test_a_stopped_run_resumes_bitwise(self, tmp_path: Path) -> None:
        whole, out = self.run(tmp_path / "whole"), tmp_path / "stopped"
        try:
            self.run(out, stop=3)
        except Interrupted:
            pass
        else:
            raise AssertionError("the run did not stop at the signal")
        self.run(out, resume=True)
        students = [read_safetensors(path / "student.safetensors")[0] for path in (whole, out)]
        assert differing(*students) == [], "the student of a resumed run is another: is all that lasts in state()?"
        assert lines(whole) == lines(out), "the losses of a resumed run are others: is all that lasts in state()?"

    def test_counted_budgets_are_kept_and_used(self, tmp_path: Path) -> None:
        for unit, counter, amount in (("samples", "samples", 150), ("queries", "teacher_forwards", 900)):
            out = self.run(tmp_path / unit, f"{amount}{unit}")
            spent = json.loads((out / "summary.json").read_text())["cost"][counter]
            assert 0.6 * amount <= spent <= amount, f"of a budget of {amount} {unit} the run spent {spent}"

    def test_a_mistyped_setting_is_refused_with_the_nearest(self, tmp_path: Path) -> None:
        for options, right in (({"stepz": 1}, "steps"), ({"transfer": {"bach": 8}}, "batch")):
            answer = "no answer: is Config a subclass of sansdata.Strict?"
            try:
                self.run(tmp_path / "run", options=options)
            except ConfigError as fault:
                answer = str(fault)
            assert f"'{right}'" in answer, f"the unknown setting {options} got {answer}"
        assert not (tmp_path / "run").exists()


class MethodContract(Runs):
    """All of it."""


# -- what is compared


def frozen_state(session: Session) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What a checkpoint would hold: JSON and tensors, which no longer follow the session."""
    tensors: dict[str, Tensor] = {}
    device, state = session.runtime.device, session.state()
    tree = {part: encode(dict(value.state_dict()), part, tensors, device) for part, value in state.items()}
    return json.loads(json.dumps(tree)), {name: value.contiguous().clone() for name, value in tensors.items()}


def restore(session: Session, tree: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """Puts a frozen state into a session."""
    parts = session.state()
    assert set(parts) == set(tree), "state() has other names than when it was saved"
    for name, part in parts.items():
        part.load_state_dict(decode(tree[name], tensors, torch.device("cpu")))


def assert_same_state(one: Session, other: Session, when: str = "") -> None:
    (tree, tensors), (other_tree, other_tensors) = frozen_state(one), frozen_state(other)
    others = [name for name in tree if tree[name] != other_tree[name]] + differing(tensors, other_tensors)
    assert others == [], f"{when}, these parts differ: {others}; does state() name all that outlives a move?"


def generators() -> dict[str, Any]:
    """The state of every global generator, comparable."""
    kind, keys, *rest = np.random.get_state()
    return {
        "torch": torch.get_rng_state().numpy().tobytes(),
        "numpy": (kind, keys.tobytes(), *rest),  # type: ignore[union-attr]
        "python": random.getstate(),
    }


def lines(out: Path) -> list[dict[str, Any]]:
    """metrics.jsonl without the clock."""
    entries = [json.loads(line) for line in (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return [{key: value for key, value in entry.items() if "second" not in key} for entry in entries]


def differing(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> list[str]:
    """Names that are not bitwise the same in both."""
    names = sorted(one.keys() | other.keys())
    return [n for n in names if n not in one or n not in other or not same_bits(one[n], other[n])]


def same_bits(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors hold the same bytes."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    plain = [t.detach().contiguous().reshape(-1).view(torch.uint8) for t in (a, b)]
    return torch.equal(*plain)
