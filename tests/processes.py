"""Commands in fresh processes without paying for the import of torch each time.

A nursery is a process that has imported sansdata and done nothing else; each job is a fork of it: a new process by all
that matters (no run, no generator and no hook was ever made in it). Every job notes what it writes outside its folders.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parent
PATIENCE = 120.0


@dataclass
class Job:
    """One process. `code` is None while it runs; negative: the signal that ended it."""

    pid: int
    log: Path
    nursery: Nursery
    code: int | None = None

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")

    @property
    def stray_writes(self) -> list[str]:
        """What it created, changed or removed outside the folders it was allowed; [] until it ended by itself."""
        file = Path(f"{self.log}.writes")
        return json.loads(file.read_text()) if file.is_file() else []

    def poll(self) -> int | None:
        if self.code is None:
            self.code = self.nursery.ask(poll=self.pid)["code"]
        return self.code

    def wait(self, patience: float = PATIENCE) -> int:
        deadline = time.monotonic() + patience
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                self.signal(9)
                raise TimeoutError(f"still running after {patience:.0f} s:\n{self.output}")
            time.sleep(0.005)
        return code

    def signal(self, number: int) -> None:
        """Sends a signal; the process is not reaped before `poll`, so the number cannot be another's."""
        if self.code is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def wait_until(self, condition: Callable[[], Any], patience: float = PATIENCE) -> None:
        """Until the condition holds or the process ended."""
        deadline = time.monotonic() + patience
        while not condition() and self.poll() is None:
            if time.monotonic() > deadline:
                self.signal(9)
                raise TimeoutError(f"nothing happened in {patience:.0f} s:\n{self.output}")
            time.sleep(0.002)


class Nursery:
    """Starts jobs. One per test process."""

    def __init__(self) -> None:
        environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE", "PYTHONDONTWRITEBYTECODE": "1"}
        self.process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self.count = 0

    def ask(self, **request: Any) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def start(
        self,
        argv: Sequence[str | Path],
        folder: Path,
        before: Sequence[tuple[Any, ...]] = (),
        env: dict[str, str] | None = None,
    ) -> Job:
        """`sansdata ARGV...` in `folder`, the only place it is expected to write to.

        before: (name of a function in `sabotage`, arguments ...), called in the new process first.
        """
        self.count += 1
        log = folder / f"job-{self.count}.log"
        pid = self.ask(
            argv=[str(a) for a in argv], folder=str(folder), log=str(log), before=list(before), env=env or {}
        )["pid"]
        return Job(pid, log, self)

    def run(self, argv: Sequence[str | Path], folder: Path, before: Sequence[tuple[Any, ...]] = ()) -> Job:
        """As `start`, to the end."""
        job = self.start(argv, folder, before)
        job.wait()
        return job

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(5)
        self.process.kill()


@functools.cache
def nursery() -> Nursery:
    made = Nursery()
    atexit.register(made.close)
    return made


def distil(config: Path, out: Path, *flags: str, before: Sequence[tuple[Any, ...]] = ()) -> Job:
    """`sansdata distill --config ... --out ...`, to the end."""
    return nursery().run(["distill", "--config", config, "--out", out, *flags], out.parent, before)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start_pair(config: Path, out: Path, *flags: str, before: list[tuple] | None = None) -> list[Job]:
    """Two ranks as torchrun would start them, without its import of torch for each."""
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    argv = ["distill", "--config", config, "--out", out, *flags]
    jobs = [("no_report",), *(before or [])]
    ranks = [shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(2)]
    return [nursery().start(argv, out.parent, jobs, env) for env in ranks]


# -- the other side


def serve() -> None:
    """One request a line: {"poll": pid} or a job."""
    for name in ("api", "cli.main", "report.page", "methods.fm", "methods.dafl", "methods.deepinversion"):
        importlib.import_module(f"sansdata.{name}")
    importlib.import_module("sansdata.engine.probes").ITERATIONS = 3  # as in the tests' own process
    importlib.import_module("torch._dynamo")  # torch imports it at the first optimiser, with a folder for its caches
    for line in sys.stdin:
        request = json.loads(line)
        if "poll" in request:
            pid, status = os.waitpid(request["poll"], os.WNOHANG)
            answer = {"code": os.waitstatus_to_exitcode(status) if pid else None}
        else:
            pid = os.fork()
            if pid == 0:
                _live(request)
            answer = {"pid": pid}
        print(json.dumps(answer), flush=True)


def _live(job: dict[str, Any]) -> None:
    """The whole life of a job."""
    log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for old, new in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(old, new)
    code, strays = 1, []
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whoever started the tests may have had it ignored, as nohup does
    try:
        os.environ.update(job["env"])
        os.chdir(job["folder"])
        _watch_writes(job["folder"], strays)
        sabotage = importlib.import_module("sabotage")
        for name, *arguments in job["before"]:
            getattr(sabotage, name)(*arguments)
        sys.argv = ["sansdata", *job["argv"]]
        importlib.import_module("sansdata.cli.main").run()
        code = 0
    except SystemExit as leave:
        code = leave.code if isinstance(leave.code, int) else int(leave.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        seen = list(strays)
        Path(f"{job['log']}.writes").write_text(json.dumps(seen))
        os._exit(code)


CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate", "os.link", "os.symlink", "os.chmod")


def _watch_writes(folder: str, strays: list[str]) -> None:
    root = os.path.realpath(folder) + os.sep

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event == "open":
            path, mode, flags = args
            writes = any(c in mode for c in "wxa+") if isinstance(mode, str) else int(flags or 0) & os.O_ACCMODE
            paths = [path] if writes else []
        elif event in CHANGES:
            paths = [args[0], args[1]] if event in ("os.rename", "os.link", "os.symlink") else [args[0]]
        elif event == "socket.connect":
            strays.append(f"connect to {args[1]}")
            return
        else:
            return
        for path in paths:
            if isinstance(path, (str, bytes, os.PathLike)):
                full = os.path.realpath(os.fsdecode(path))
                if not (full + os.sep).startswith(root) and full != os.devnull and "__pycache__" not in full:
                    strays.append(f"{event} {full}")

    sys.addaudithook(hook)


if __name__ == "__main__":
    serve()
