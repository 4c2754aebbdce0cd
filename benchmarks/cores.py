"""Several cores: threads of one process beside processes that average their gradients, at the same work.

    python benchmarks/cores.py [--batch 256] [--repeats 5] [--json FILE]

The networks and phases of speed.py. Each side does one synthesis round and one transfer step of `batch` images in all:
one thread; as many threads as there are cores; as many processes, each with one thread and its part of the batch,
joined by gloo as under torchrun. They take turns, and the figure to quote is the median of the paired ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from ours import Ours, Size
from speed import SYNTHESIS, TRANSFER, machine, seconds
from workers import Side, Worker

from sansdata.runtime import make_runtime


def side_of(size: Size) -> Side:
    ours = Ours(size)
    ours.fill()
    return {SYNTHESIS: ours.synthesise, TRANSFER: ours.transfer}


def member_of(size: Size, rank: int, world: int, port: int) -> Side:
    """One process of a group, which the others must join before any of them computes."""
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return side_of(size)


class Team:
    """Workers that make the same move together."""

    def __init__(self, workers: list[Worker]) -> None:
        self.workers, self.pool = workers, ThreadPoolExecutor(len(workers))

    def seconds(self, phase: str) -> float:
        """Until the last of them is done."""
        return max(self.pool.map(lambda worker: worker.ask(seconds, phase), self.workers))

    def close(self) -> None:
        for worker in self.workers:
            worker.close()
        self.pool.shutdown()


def teams(size: Size, cores: int) -> dict[str, Team]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    part = Size(size.image, size.batch // cores, size.width, size.classes)
    return {
        "one thread": Team([Worker(side_of, size, threads=1)]),
        f"{cores} threads": Team([Worker(side_of, size, threads=cores)]),
        f"{cores} processes": Team([Worker(member_of, part, rank, cores, port, threads=1) for rank in range(cores)]),
    }


def measure(size: Size, repeats: int, cores: int) -> dict[str, Any]:
    """Phase -> side -> median seconds, and how many times as fast as one thread in the same turn."""
    sides, phases = teams(size, cores), {}
    for phase in (SYNTHESIS, TRANSFER):
        turns = [{name: side.seconds(phase) for name, side in sides.items()} for _ in range(repeats + 1)][1:]
        print(phase, turns, file=sys.stderr, flush=True)
        ratios = {name: [turn["one thread"] / turn[name] for turn in turns] for name in sides}
        phases[phase] = {
            name: {
                "seconds": statistics.median(turn[name] for turn in turns), "ratio": statistics.median(ratios[name]),
                "lowest ratio": min(ratios[name]), "highest ratio": max(ratios[name]),
            }
            for name in sides
        }  # fmt: skip
    for side in sides.values():
        side.close()
    return {"size": vars(size), "repeats": repeats, "precision": make_runtime().precision, "phases": phases}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, help="where to keep the figures, beside printing them")
    args = parser.parse_args()
    cores = os.cpu_count() or 1
    if cores < 2:
        raise SystemExit("there is one core: nothing to compare")
    text = json.dumps({"machine": machine(cores)} | measure(Size(batch=args.batch), args.repeats, cores), indent=1)
    print(text)
    if args.json is not None:
        args.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
