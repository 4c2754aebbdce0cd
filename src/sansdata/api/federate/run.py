"""A federated run in its directory: rounds, checkpoints, figures, models, report."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shlex
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ... import __version__
from ...config import dump_yaml
from ...engine.checkpoint import Checkpoints
from ...engine.manifest import changed_settings, earlier_notes, processor
from ...engine.run_directory import RunDirectory
from ...engine.signals import StopRequest, stop_on_signals
from ...errors import Interrupted, ResumeError, SansdataError, UserError, first_line
from ...federated.in_process import Wire
from ...federated.local_only import local_only_model
from ...federated.settings import FederateSettings
from ...files import open_in_place, utc_now
from ...models.saved import write_model
from ...report.federated import write_federated_report
from .clients import Clients
from .result import FederatedRun
from .summary import round_line, summary
from .world import World, own_network, prepare


def run(
    settings: FederateSettings,
    out: Path,
    resume: bool = False,
    command: str | None = None,
    wire: Wire | None = None,
    clients: Clients | None = None,
    module: nn.Module | None = None,
) -> FederatedRun:
    """A run in directory `out`, to its end. wire: faults on purpose, for tests. clients, module: the user's own.

    Raises UserError for wrong input, Interrupted after a signal, SansdataError where no reply was taken in any round.
    """
    directory = RunDirectory(out, "federated")
    with stop_on_signals() as request, _heard(request):
        world = prepare(settings, wire, clients, module)
        world.runtime.overdue = lambda: request.overdue
        continued = directory.open(resume)
        try:
            with request.waits_for_moves():
                _Rounds(world, directory, request).run(continued, command)
            _finish(world, directory)
        except BaseException as fault:
            if isinstance(fault, UserError) and not continued and world.run.round == 0:
                directory.discard()
            elif directory.touched or not isinstance(fault, UserError):  # a refused command changes nothing
                _close(directory, fault)
            raise
        finally:
            directory.release()
    network = settings.network if module is None else own_network(settings, module)
    return FederatedRun(directory.path, world.task, network)


@contextlib.contextmanager
def _heard(request: StopRequest) -> Iterator[None]:
    """A signal that did not wait for the end of a round ends in a sentence; what was saved before stands."""
    try:
        yield
    except KeyboardInterrupt:
        if request.name is None:
            raise
        raise Interrupted(f"stopped by {request.name}; continue with --resume (resume=True in Python)") from None


def _close(directory: RunDirectory, fault: BaseException) -> None:
    with contextlib.suppress(Exception):
        status = "interrupted" if isinstance(fault, (Interrupted, KeyboardInterrupt)) else "failed"
        directory.event(f"{status}: {first_line(fault)}")
        directory.write_json("run.json", directory.manifest() | {"status": status, "ended": utc_now()})


class _Rounds:
    """The rounds of a run. What a round led to is saved before it is measured, and no measurement ends a run. Models
    that do not outlive their round are measured first, and their figures saved with it."""

    def __init__(self, world: World, directory: RunDirectory, request: StopRequest) -> None:
        self.world, self.directory, self.request = world, directory, request
        self.checkpoints = Checkpoints(directory.path / "checkpoints", world.runtime)

    def run(self, continued: bool, command: str | None) -> None:
        settings, run = self.world.settings, self.world.run
        lines = self._continue(command) if continued else self._begin(command)
        self.checkpoints.sweep()
        self.directory.write_text("metrics.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
        with open_in_place(self.directory.path / "metrics.jsonl") as log:
            while run.round < settings.rounds:
                line = run.run_round()
                for text in _faults(line):
                    self.directory.event(f"round {line['round']}, {text}")
                others = self._others()
                if run.round == settings.rounds or self.request.name or run.round % settings.checkpoint_every == 0:
                    self.checkpoints.save(run.round, run.state(), {"round": run.round, "line": line, "others": others})
                line = self._measured(line, others)
                log.write((json.dumps(line) + "\n").encode())
                if self.request.name and run.round < settings.rounds:
                    raise self._interrupted()

    def _begin(self, command: str | None) -> list[dict[str, Any]]:
        self.directory.write_text("config.yaml", dump_yaml(_resolved(self.world)))
        self.directory.write_json("partition.json", self.world.partition.manifest)
        self.directory.write_json("run.json", _manifest(self.world, command))
        return []

    def _continue(self, command: str | None) -> list[dict[str, Any]]:
        """Restores the newest checkpoint; gives the lines of the rounds before it, the last one measured where a stop
        came before its measurement. Raises ResumeError."""
        run, manifest = self.world.run, _manifest(self.world, command)
        _require_same(self.directory, self.world, manifest)
        newest, faults = self.checkpoints.newest()
        facts = {} if newest is None else self.checkpoints.load(newest, run.state())
        lines = self.directory.lines()[: run.round]
        at = f"resumed after round {run.round}"
        manifest["resumed"] = [*earlier_notes(self.directory.manifest(), "resumed"), *faults, at]
        self.directory.event(at)
        self.directory.write_json("run.json", manifest)
        if len(lines) < run.round and "line" in facts:
            lines.append(self._measured(facts["line"], facts.get("others", {})))
        return lines

    def _is_due(self) -> bool:
        """Whether the round that was just made is measured."""
        settings, run = self.world.settings, self.world.run
        return run.round == settings.rounds or run.round % settings.evaluate_every == 0

    def _others(self) -> dict[str, float]:
        """Figures, where they are due, of the server's models that are of this round alone."""
        run = self.world.run
        try:
            return run.measure_round(self.world.tests) if self._is_due() else {}
        except Exception as fault:
            self.directory.event(
                f"round {run.round - 1}, models beside the global one not measured: {first_line(fault)}"
            )
            return {}

    def _measured(self, line: dict[str, Any], others: dict[str, float]) -> dict[str, Any]:
        """The line with figures where they are due, `others` among them. Raises Interrupted where a signal comes during
        the last ones."""
        settings, run = self.world.settings, self.world.run
        last = run.round == settings.rounds
        if not self._is_due():
            return line

        def listen() -> None:
            if last and self.request.name:
                raise self._interrupted()

        alone = local_only_model(run, settings.batch_norm != "frozen") if last and settings.local_only else None
        try:
            measured = run.measure(self.world.tests, personal=last, alone=alone, listen=listen)
            figures = {**measured, **others}
        except Interrupted:
            raise
        except Exception as fault:
            figures = {"unmeasured": [{"client": None, "reason": first_line(fault)}]}
        for one in figures.get("unmeasured", ()):
            self.directory.event(f"round {line['round']}, not measured, client {one['client']}: {one['reason']}")
        line = line | figures
        print(round_line(line, settings.rounds), file=sys.stderr, flush=True)
        return line

    def _interrupted(self) -> Interrupted:
        at = f"{self.request.name} after round {self.world.run.round}"
        return Interrupted(f"{at}; saved. Continue with --resume (resume=True in Python)")


def _faults(line: Mapping[str, Any]) -> list[str]:
    """What went wrong in a round, in plain words."""
    named = [f"client {one['client']}: {one['reason']}" for one in [*line["refused"], *line["lost"]]]
    return [*named, f"undone: {line['undone']}"] if "undone" in line else named


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
        "partition": hashlib.sha256(dealt).hexdigest(), "data": _fingerprint(world), "start": world.run.fingerprint,
        "notes": list(world.notes), "resumed": [],
        "parameters": sum(p.numel() for p in world.run.server.context.model.parameters()),
        "reveals": world.run.server.reveals,
    }  # fmt: skip


def _fingerprint(world: World) -> str:
    """SHA-256 of all images and labels, those of the clients and those that are tested on."""
    digest = hashlib.sha256()
    for part in (*world.run.data, world.tests):
        for values in (part.images, part.labels):
            digest.update(f"{values.dtype} {tuple(values.shape)}".encode())
            digest.update(values.contiguous().numpy().tobytes())
    for ids in world.tests.per_client:
        digest.update(ids.astype("<i8").tobytes() + b"|")
    return digest.hexdigest()


def _require_same(directory: RunDirectory, world: World, new: Mapping[str, Any]) -> None:
    """Raises ResumeError where the continued run would not be bitwise the uninterrupted one."""
    old = directory.manifest()
    exact = ("torch", "threads", "device", "processor", "partition", "data", "start")
    differences = [f"{name} was {old.get(name)}, is {new[name]}" for name in exact if old.get(name) != new[name]]
    differences += changed_settings(directory.settings(), _resolved(world))
    if differences:
        raise ResumeError("this run cannot be continued exactly:\n  " + "\n  ".join(differences))


def _finish(world: World, directory: RunDirectory) -> None:
    """Models, summary, report. Raises SansdataError where nothing was learned, after all is written."""
    lines = directory.lines()
    write_models(world, directory)
    directory.write_json("summary.json", summary(lines))
    accepted = sum(line["taken"] for line in lines)
    directory.write_json(
        "run.json", directory.manifest() | {"status": "done" if accepted else "failed", "ended": utc_now()}
    )
    write_federated_report(directory.path)
    if not accepted:
        reasons = [text for line in lines for text in _faults(line)]
        raise SansdataError(
            f"no reply was taken in any of {len(lines)} rounds, so the model is as it began. The first reason: "
            f"{reasons[0] if reasons else 'none'}. All of them are in {directory.path / 'events.log'}"
        )


def write_models(world: World, directory: RunDirectory) -> None:
    """student.safetensors, or a file for each client where there is no global model."""
    server, run = world.run.server, world.run
    provenance = {
        "sansdata": __version__, "method": world.settings.method, "seed": world.settings.seed, "rounds": run.round,
    }  # fmt: skip
    if server.has_global_model:
        write_model(
            directory.path / "student.safetensors", server.context.model, world.architecture, world.task, provenance
        )
        return
    folder, work, owners = directory.folder("clients"), run.client.context.model, world.partition.manifest["clients"]
    make = run.personal_model()
    for client, memory in sorted(run.memories.items()):
        if memory:
            make(client)
            whose = provenance | {"client": client, "owner": owners[client].get("owner", str(client))}
            write_model(folder / f"client-{client:03d}.safetensors", work, world.architecture, world.task, whose)
