"""A deployment on this machine: a SuperLink and several SuperNodes on loopback, one client killed in the middle.

    python loopback.py OUT [--clients 3] [--rounds 4] [--method fedgen] [--no-kill]

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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--clients", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--method", default="fedgen")
    parser.add_argument("--timeout", type=float, default=120, help="seconds that a round waits for a client")
    parser.add_argument("--limit", type=float, default=1800, help="seconds for the whole run")
    parser.add_argument("--no-kill", action="store_true")
    given = parser.parse_args()
    out = given.out.resolve()
    out.mkdir(parents=True)
    home = Path(tempfile.mkdtemp(prefix="flwr-"))
    port = free_port()
    (home / "config.toml").write_text(f'[superlink.loopback]\naddress = "127.0.0.1:{port}"\ninsecure = true\n')
    environment = os.environ | {
        "FLWR_HOME": str(home),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        "OMP_NUM_THREADS": "1",
        "PATH": f"{TOOLS}{os.pathsep}{os.environ.get('PATH', '')}",
    }
    children: list[subprocess.Popen] = []
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the children end too

    def start(name: str, *words: str) -> subprocess.Popen:
        log = open(out / f"{name}.log", "wb")  # noqa: SIM115 - the child keeps it
        command = [str(TOOLS / words[0]), *words[1:]]
        # A group of its own, so that its children end with it.
        child = subprocess.Popen(
            command, cwd=HERE, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        children.append(child)
        return child

    def end(child: subprocess.Popen, by: signal.Signals = signal.SIGKILL) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, by)

    try:
        start("superlink", "flower-superlink", "--insecure", "--host", "127.0.0.1", "--port", str(port))
        wait_for_port(port, 120)
        nodes = [
            start(
                f"client-{client}", "flower-supernode", "--insecure", "--superlink", f"127.0.0.1:{port}", "--port",
                str(free_port()), "--node-config", f"partition-id={client} num-partitions={given.clients}",
            )
            for client in range(given.clients)
        ]  # fmt: skip
        config = (
            f'method="{given.method}" clients={given.clients} active={given.clients} rounds={given.rounds} '
            f'timeout={given.timeout:.1f} out="{out}"'
        )
        run = start("run", "flwr", "run", ".", "loopback", "--stream", "--run-config", config)
        until, killed, shown = time.monotonic() + given.limit, given.no_kill, 0
        while len(lines(out)) < given.rounds or not (out / "student.safetensors").is_file():
            if time.monotonic() > until:
                print("the run did not end in time; see the logs", file=sys.stderr)
                return 1
            if run.poll() not in (None, 0):
                print((out / "run.log").read_text()[-2000:], file=sys.stderr)
                return 1
            for line in lines(out)[shown:]:
                shown += 1
                print({name: line[name] for name in ("round", "taken", "lost", "refused")}, flush=True)
            if not killed and len(lines(out)) >= given.rounds // 2:
                print(f"client {given.clients - 1} is killed", flush=True)
                end(nodes[-1])
                killed = True
            time.sleep(0.5)
        for line in lines(out)[shown:]:
            print({name: line[name] for name in ("round", "taken", "lost", "refused")}, flush=True)
        lost = [one for line in lines(out) for one in line["lost"]]
        return 0 if given.no_kill or lost else 1
    finally:
        for child in reversed(children):
            end(child)


if __name__ == "__main__":
    sys.exit(main())
