"""A federated run over a real set that is dealt out to clients in this process: directory, checkpoints, figures."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from .. import __version__
from ..config import dump_yaml, validate
from ..datasets.images import holdout, load_images
from ..datasets.imageset import ImageSet, pick
from ..datasets.npz import read_array
from ..engine.checkpoint import Checkpoints
from ..engine.run import changed_settings, earlier_notes, processor
from ..engine.run_directory import RunDirectory
from ..engine.signals import StopRequest, stop_on_signals
from ..errors import ConfigError, DataError, Interrupted, ResumeError, UserError
from ..federated.algo import ClientContext, ServerContext
from ..federated.data import ClientData
from ..federated.in_process import InProcess, Wire
from ..federated.index import federated_config, find_server, require_task
from ..federated.partitions import Partition, indices_like, partition
from ..federated.scores import TestSet, rounds_to
from ..federated.settings import FederateSettings
from ..files import open_in_place, utc_now
from ..models.build import architecture_of, build
from ..models.modes import single_precision
from ..models.saved import read_model, write_model
from ..network import Network
from ..report.federated import write_federated_report
from ..runtime import Runtime, make_runtime
from ..streams import Streams
from ..tasks import KNOWN_TASKS, Task, load_task
from ..teachers.student_file import restore

LEVELS = tuple(round(0.05 * n, 2) for n in range(4, 20))
"""Accuracies whose first round is reported."""


@dataclass
class FederatedRun:
    """A finished federated run."""

    run_dir: Path
    task: Task
    network: str = ""
    """What was trained, as the user named it: code that made it is imported again only then."""

    @cached_property
    def student(self) -> nn.Module | None:
        """The global model, which takes normalised images; None where the method has none."""
        file = self.run_dir / "student.safetensors"
        if not file.is_file():
            return None
        saved = read_model(file)
        with torch.random.fork_rng(devices=[]):
            return restore(saved, file, self.network).eval()

    @cached_property
    def summary(self) -> dict[str, Any]:
        """Last accuracies, bytes, seconds, rounds to each level of accuracy."""
        return RunDirectory(self.run_dir).read_json("summary.json")

    @cached_property
    def metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl, one per round."""
        return RunDirectory(self.run_dir).lines()


@single_precision()
def federate(
    data: str | Path, method: str = "fedavg", out: str | Path = "run", resume: bool = False, **given: Any
) -> FederatedRun:
    """Trains `method` over clients that share out the set `data`, in this process, into the directory `out`.

    given: the other fields of federated.settings.FederateSettings, such as clients=20, rounds=50,
    partition={"alpha": 0.1}, options={...}. Raises UserError before the first round for wrong input, Interrupted after
    a signal (then resume=True continues exactly).
    """
    settings = validate(FederateSettings, {"data": str(data), "method": method, **given}, "federate")
    return run(settings, Path(out), resume, f"sansdata.federate({str(data)!r}, {method!r}, seed={settings.seed})")


@dataclass
class World:
    """A run before its first round, made from its settings alone."""

    settings: FederateSettings
    task: Task
    architecture: dict[str, Any]
    config: Any
    partition: Partition
    notes: tuple[str, ...]
    run: InProcess
    tests: TestSet
    runtime: Runtime


def prepare(settings: FederateSettings, wire: Wire | None = None) -> World:
    """Reads the data, deals it out, makes server and clients. Raises UserError for wrong input."""
    server_class = find_server(settings.method)
    config = federated_config(settings.method, settings.preset, settings.options)
    if not settings.task and settings.data not in KNOWN_TASKS:
        raise ConfigError(f"--task TASK is needed with --data {settings.data}: a YAML file or a known name")
    task = load_task(settings.task or settings.data)
    require_task(settings.method, config, task)
    if settings.threads:
        torch.set_num_threads(settings.threads)
    runtime = make_runtime(settings.device, "fp32")
    train, test, owners = _sets(settings, task)
    dealt = partition(train.labels, settings.clients, settings.partition, settings.seed, owners)
    architecture = architecture_of(settings.network, task)
    if settings.batch_norm == "group":
        architecture = {"kind": "group-norm", "of": architecture}
    streams = Streams(settings.seed)
    with streams.as_global("network"):
        model, work = (build(architecture, code=[settings.network]) for _ in range(2))
    runtime, notes = runtime.suited_to({"the network": Network.of(model, task)}, task)
    runtime.place(work)
    server = server_class(config, ServerContext(task, model, settings.clients, settings.rounds, streams, runtime))
    client = server_class.client(config, ClientContext(task, work, runtime, settings.batch_norm))
    images, labels = torch.from_numpy(train.images).permute(0, 3, 1, 2), torch.from_numpy(train.labels)
    data = [ClientData(images[own].contiguous(), labels[own]) for own in dealt.indices]
    return World(
        settings, task, architecture, config, dealt, (*train.notes, *test.notes, *notes),
        InProcess(server, client, data, settings.active_clients, settings.seed, wire),
        _tests(test, dealt, settings, task), runtime,
    )  # fmt: skip


def _sets(settings: FederateSettings, task: Task) -> tuple[ImageSet, ImageSet, np.ndarray | None]:
    """(what is dealt out, what is tested on, owners). A set that is one split by itself gives a sixth for testing."""
    train, path = load_images(settings.data, task, "train"), Path(settings.data)
    alone = settings.data not in KNOWN_TASKS and path.exists()
    if settings.partition.scheme == "natural" and path.suffix == ".npz":
        owners = read_array(path, "owner")
        if len(owners) != len(train):
            raise DataError(f"{path}: {len(owners)} owners for {len(train)} images")
        rest, held = pick(train.labels, settings.holdout or max(1, len(train) // 6), seed=0)
        return train.subset(rest, "without those held out"), train.subset(held, "held out"), owners[rest]
    if settings.holdout:
        return *holdout(train, settings.holdout, seed=0), None
    if alone:
        return *holdout(train, max(1, len(train) // 6), seed=0), None
    return train, load_images(settings.data, task, "test"), None


def _tests(test: ImageSet, dealt: Partition, settings: FederateSettings, task: Task) -> TestSet:
    images = torch.from_numpy(test.images).permute(0, 3, 1, 2).contiguous()
    per_client = tuple(
        indices_like(np.array(one["classes"] + [0] * (task.classes - len(one["classes"]))), test.labels,
                     settings.test_per_client, settings.seed + 1 + number)
        for number, one in enumerate(dealt.manifest["clients"])
    )  # fmt: skip
    return TestSet(images, torch.from_numpy(test.labels), per_client)


def run(
    settings: FederateSettings, out: Path, resume: bool = False, command: str | None = None, wire: Wire | None = None
) -> FederatedRun:
    """A run in directory `out`, to its end. wire: faults on purpose, for tests."""
    directory = RunDirectory(out, "federated")
    with stop_on_signals() as request:
        world = prepare(settings, wire)
        continued = directory.open(resume)
        try:
            _rounds(world, directory, continued, command, request)
        except BaseException as fault:
            if isinstance(fault, UserError) and not continued:
                directory.discard()
            elif directory.touched or not isinstance(fault, UserError):  # a refused command changes nothing
                _close(directory, fault)
            directory.release()
            raise
    _finish(world, directory)
    directory.release()
    return FederatedRun(out, world.task, settings.network)


def _close(directory: RunDirectory, fault: BaseException) -> None:
    with contextlib.suppress(Exception):
        status = "interrupted" if isinstance(fault, (Interrupted, KeyboardInterrupt)) else "failed"
        directory.event(f"{status}: {fault}")
        directory.write_json("run.json", directory.manifest() | {"status": status, "ended": utc_now()})


def _rounds(world: World, directory: RunDirectory, continued: bool, command: str | None, request: StopRequest) -> None:
    settings, run = world.settings, world.run
    checkpoints = Checkpoints(directory.path / "checkpoints", world.runtime)
    manifest = _manifest(world, command)
    lines: list[dict[str, Any]] = []
    if continued:
        _require_same(directory, world, manifest)
        newest, faults = checkpoints.newest()
        if newest is not None:
            checkpoints.load(newest, run.state())
        lines = directory.lines()[: run.round]
        at = f"resumed after round {run.round}"
        manifest["resumed"] = [*earlier_notes(directory.manifest(), "resumed"), *faults, at]
        directory.event(at)
    else:
        directory.write_text("config.yaml", dump_yaml(_resolved(world)))
        directory.write_json("partition.json", world.partition.manifest)
    checkpoints.sweep()
    directory.write_json("run.json", manifest)
    directory.write_text("metrics.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    with open_in_place(directory.path / "metrics.jsonl") as log:
        while run.round < settings.rounds:
            line = run.run_round()
            for one in [*line["refused"], *line["lost"]]:
                directory.event(f"round {line['round']}, client {one['client']}: {one['reason']}")
            last = run.round == settings.rounds
            if last or run.round % settings.evaluate_every == 0:
                line |= run.measure(world.tests, personal=last)
                _say(line, settings.rounds)
            log.write((json.dumps(line) + "\n").encode())
            if last or request.name or run.round % settings.checkpoint_every == 0:
                checkpoints.save(run.round, run.state(), {"round": run.round})
            if request.name and not last:
                raise Interrupted(f"{request.name} after round {run.round}; saved. Continue with --resume")


def _say(line: dict[str, Any], rounds: int) -> None:
    shown = [f"round {line['round'] + 1}/{rounds}"]
    for name in ("accuracy", *(key for key in line if key.startswith("accuracy_"))):
        if name in line:
            shown.append(f"{name.replace('_', ' ')} {100 * line[name]:.1f} %")
    for name in ("clients_accuracy", "personal_accuracy"):
        if name in line:
            shown.append(f"{name.split('_')[0]} {100 * line[name]['mean']:.1f} +- {100 * line[name]['std']:.1f} %")
    shown += [f"{len(line[kind])} {kind}" for kind in ("refused", "lost") if line[kind]]
    print("  ".join(shown), file=sys.stderr, flush=True)


def _resolved(world: World) -> dict[str, Any]:
    """The settings with every default filled in: what `config.yaml` holds."""
    tree = world.settings.model_dump(mode="json")
    tree["task"] = world.task.model_dump(mode="json")
    return tree | {"options": world.config.model_dump(mode="json"), "preset": "default"}


def _manifest(world: World, command: str | None) -> dict[str, Any]:
    dealt = json.dumps(world.partition.manifest, sort_keys=True).encode()
    return {
        "sansdata": __version__, "kind": "federated", "status": "running", "method": world.settings.method,
        "command": command or shlex.join(["sansdata", *sys.argv[1:]]), "seed": world.settings.seed,
        "started": utc_now(), "ended": None, "torch": torch.__version__, "threads": torch.get_num_threads(),
        "device": str(world.runtime.device), "processor": processor(), "cores": os.cpu_count(),
        "partition": hashlib.sha256(dealt).hexdigest(), "notes": list(world.notes), "resumed": [],
        "parameters": sum(p.numel() for p in world.run.server.context.model.parameters()),
        "reveals": world.run.server.reveals,
    }  # fmt: skip


def _require_same(directory: RunDirectory, world: World, new: Mapping[str, Any]) -> None:
    """Raises ResumeError where the continued run would not be bitwise the uninterrupted one."""
    old = directory.manifest()
    exact = ("torch", "threads", "device", "processor", "partition")
    differences = [f"{name} was {old.get(name)}, is {new[name]}" for name in exact if old.get(name) != new[name]]
    differences += changed_settings(directory.settings(), _resolved(world))
    if differences:
        raise ResumeError("this run cannot be continued exactly:\n  " + "\n  ".join(differences))


def _finish(world: World, directory: RunDirectory) -> None:
    """Models, summary, report."""
    server, run, path = world.run.server, world.run, directory.path
    provenance = {
        "sansdata": __version__, "method": world.settings.method, "seed": world.settings.seed, "rounds": run.round,
    }  # fmt: skip
    if server.has_global_model:
        model = server.context.model
        write_model(path / "student.safetensors", model, world.architecture, world.task, provenance)
    else:
        folder, work = directory.folder("clients"), run.client.context.model
        for client, memory in sorted(run.memories.items()):
            state = {name.removeprefix("model/"): value for name, value in memory.items() if name.startswith("model/")}
            work.load_state_dict(state)
            write_model(
                folder / f"client-{client:03d}.safetensors", work, world.architecture, world.task,
                provenance | {"client": client},
            )  # fmt: skip
    directory.write_json("summary.json", summary(directory.lines()))
    directory.write_json("run.json", directory.manifest() | {"status": "done", "ended": utc_now()})
    write_federated_report(path)


def summary(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """What a run came to: the last figures, sums over rounds, rounds to each level of accuracy."""
    last = lines[-1]

    def total(direction: str) -> dict[str, int]:
        names = dict.fromkeys(name for line in lines for name in line[direction])
        return {name: sum(line[direction].get(name, 0) for line in lines) for name in names}

    measured = [line["accuracy"] for line in lines if "accuracy" in line]
    return {
        "rounds": len(lines),
        **{name: value for name, value in last.items() if "accuracy" in name},
        "accuracy_last_3": None if not measured else float(np.mean(measured[-3:])),
        "rounds_to": rounds_to(lines, LEVELS),
        "down": total("down"), "up": total("up"),
        "server_seconds": sum(line["server_seconds"] for line in lines),
        "client_seconds": sum(line["client_seconds"] for line in lines),
        "refused": sum(len(line["refused"]) for line in lines), "lost": sum(len(line["lost"]) for line in lines),
    }  # fmt: skip
