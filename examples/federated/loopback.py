"""Flower on this machine: a SuperLink and several SuperNodes on loopback, one client killed in the middle.

    python loopback.py OUT [--clients 3] [--rounds 4] [--method fedgen] [--no-kill]
    python loopback.py OUT --simulation

Prints the line of every round; exit code 0 where the run finished with the clients that were left.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
TOOLS = Path(sys.executable).parent


class Processes:
    """Flower's processes, each with a log in `out`; all end with the block."""

    def __init__(self, out: Path, port: int) -> None:
        home = Path(tempfile.mkdtemp(prefix="flwr-"))
        (home / "config.toml").write_text(f'[superlink.loopback]\naddress = "127.0.0.1:{port}"\ninsecure = true\n')
        self.out = out
        self.children: list[subprocess.Popen] = []
        self.environment = os.environ | {
            "FLWR_HOME": str(home),
            "FLWR_TELEMETRY_ENABLED": "0",
            "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
            "OMP_NUM_THREADS": "1",
            "PATH": f"{TOOLS}{os.pathsep}{os.environ.get('PATH', '')}",
        }

    def __enter__(self) -> Processes:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the children end too
        return self

    def __exit__(self, *_: object) -> None:
        for child in reversed(self.children):
            kill(child)

    def start(self, name: str, tool: str, *words: str) -> subprocess.Popen:
        with open(self.out / f"{name}.log", "wb") as log:
            # A group of its own, so that its children end with it.
            child = subprocess.Popen(
                [str(TOOLS / tool), *words], cwd=HERE, env=self.environment, stdout=log, stderr=subprocess.STDOUT,
                start_new_session=True,
            )  # fmt: skip
        self.children.append(child)
        return child


def kill(child: subprocess.Popen) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for_port(port: int, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.5)
    raise TimeoutError(f"nothing listens on 127.0.0.1:{port} after {seconds:.0f} s")


def lines(out: Path) -> list[dict]:
    file = out / "metrics.jsonl"
    return [json.loads(text) for text in file.read_text().splitlines()] if file.is_file() else []


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--clients", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--method", default="fedgen")
    parser.add_argument("--timeout", type=float, default=120, help="seconds that a round waits for a client")
    parser.add_argument("--limit", type=float, default=1800, help="seconds for the whole run")
    parser.add_argument("--no-kill", action="store_true")
    parser.add_argument("--simulation", action="store_true", help="Flower's simulation in place of SuperNodes")
    return parser.parse_args()


def main() -> int:
    given = parsed()
    out, port = given.out.resolve(), free_port()
    out.mkdir(parents=True)
    superlink = ["flower-superlink", "--insecure", "--host", "127.0.0.1", "--port", str(port)]
    config = (
        f'method="{given.method}" clients={given.clients} active={given.clients} rounds={given.rounds} '
        f'timeout={given.timeout:.1f} out="{out}" folder="{out / "nodes"}"'
    )
    run = ["flwr", "run", ".", "loopback", "--stream", "--run-config", config]
    with Processes(out, port) as processes:
        if given.simulation:
            superlink += ["--simulation", "--isolation", "subprocess", "--control-api-address",
                          f"127.0.0.1:{free_port()}"]  # fmt: skip
            run += ["--federation-config", f"num-supernodes={given.clients} client-resources-num-cpus=1"]
        processes.start("superlink", *superlink)
        wait_for_port(port, 120)
        nodes = [] if given.simulation else [
            processes.start(
                f"client-{client}", "flower-supernode", "--insecure", "--superlink", f"127.0.0.1:{port}", "--port",
                str(free_port()), "--node-config", f"partition-id={client} num-partitions={given.clients}",
            )
            for client in range(given.clients)
        ]  # fmt: skip
        victim = None if given.no_kill or given.simulation else nodes[-1]
        return watch(processes.start("run", *run), out, given, victim)


def watch(run: subprocess.Popen, out: Path, given: argparse.Namespace, victim: subprocess.Popen | None) -> int:
    """Shows the rounds as they come, kills the victim after half of them; gives the exit code."""
    until, alive, shown, done = time.monotonic() + given.limit, victim, 0, False
    while not done:
        done = (out / "finished").is_file()  # before the lines are read: it is the last file that is written
        if time.monotonic() > until or run.poll() not in (None, 0):
            print((out / "run.log").read_text()[-2000:], file=sys.stderr)
            return 1
        for line in lines(out)[shown:]:
            shown += 1
            print({name: line[name] for name in ("round", "taken", "lost", "refused")}, flush=True)
        if alive is not None and shown >= given.rounds // 2:
            print(f"client {given.clients - 1} is killed", flush=True)
            kill(alive)
            alive = None
        time.sleep(0.5)
    lost = [one for line in lines(out) for one in line["lost"]]
    return 0 if bool(lost) == (victim is not None) else 1


if __name__ == "__main__":
    sys.exit(main())
