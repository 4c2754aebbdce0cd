"""Runs what is missing of a recipe, one process per run, and keeps every figure."""

from __future__ import annotations

import json
import os
import platform
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any

from ..engine.manifest import processor
from ..errors import ConfigError, UserError
from ..files import write_json
from .experiments import find_experiment
from .page import write_page
from .recipes import find_recipe
from .recipes.model import Arm, Recipe
from .teachers import ensure_teacher, without_paths


def reproduce(name: str, scale: str = "small", seeds: int | None = None, docs: Path = Path("docs")) -> Path:
    """Completes the figures of a recipe under `docs`/reproduction and rewrites `docs`/reproduction.md.

    seeds: of every arm; None takes the recipe's own number.
    Raises ConfigError for an unknown recipe or scale, DataError where its data or checkpoint is not there, and whatever
    UserError the first run meets: a library or a program that is missing is said once.
    """
    recipe = find_recipe(name)
    if scale not in recipe.arms:
        raise ConfigError(f"recipe '{name}' has no scale '{scale}'; it has {', '.join(recipe.arms)}")
    teacher = ensure_teacher(recipe)
    store = Store(docs / "reproduction" / f"{name}-{scale}.json")
    runs = [(arm, seed) for arm in recipe.arms[scale] for seed in range(seeds or arm.seeds or recipe.seeds)]
    missing = store.missing(runs, teacher["sha256"])
    store.describe(recipe, scale, teacher)
    print(f"{name}: {len(missing)} runs are missing of {len(runs)}", flush=True)
    workers = max(1, min(len(missing), (os.cpu_count() or 1) // recipe.threads))
    if missing:
        with ProcessPoolExecutor(workers, get_context("spawn"), end_with_parent) as pool:
            jobs = {pool.submit(run_arm, recipe.name, arm, seed, teacher): (arm, seed) for arm, seed in missing}
            for job in as_completed(jobs):
                arm, seed = jobs[job]
                fault = job.exception()
                if isinstance(fault, UserError):  # what is missing here is missing for the others too
                    pool.shutdown(cancel_futures=True)
                    raise fault
                # Any other run that fails is a finding, and must not take the others with it.
                figures = {"failed": str(fault)} if fault is not None else job.result()
                store.add(arm, seed, teacher["sha256"], figures)
                outcome = f"failed: {fault}" if fault is not None else _outcome(figures)
                print(f"{arm.name} seed {seed}: {outcome}", flush=True)
    return write_page(docs)


def _outcome(figures: dict[str, Any]) -> str:
    """The accuracy, or of what has none the first measure."""
    if figures["accuracy"] is not None:
        return f"{100 * figures['accuracy']:.2f} %"
    name, value = next(iter(figures["measures"].items()))
    return f"{name} {value:.3f}"


def end_with_parent() -> None:
    """In a worker: a parent that was killed leaves nobody who would tell it to end."""
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()


class Store:
    """The figures of one recipe at one scale, from one processor or from several."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.value: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {"runs": []}

    def missing(self, wanted: list[tuple[Arm, int]], teacher: str) -> list[tuple[Arm, int]]:
        """The runs that this processor has to make: of every seed whose arms have not all come to their end on one and
        the same processor. Processors round differently, some of them to bf16: only runs of one are compared."""
        arms: dict[int, set[str]] = {}
        for arm, seed in wanted:
            arms.setdefault(seed, set()).add(key(arm, seed, teacher))
        ended: dict[str, set[str]] = {}
        for run in self.value["runs"]:
            if "failed" not in run:  # a run that failed is tried again
                ended.setdefault(run["processor"], set()).add(run["key"])
        here = ended.get(processor(), set())
        whole = {seed for seed, keys in arms.items() if any(keys <= done for done in ended.values())}
        return [(arm, seed) for arm, seed in wanted if seed not in whole and key(arm, seed, teacher) not in here]

    def describe(self, recipe: Recipe, scale: str, teacher: dict[str, Any]) -> None:
        arms = recipe.arms[scale]
        valid = {(arm.name, arm.key(teacher["sha256"])) for arm in arms}
        self.value = {
            "recipe": recipe.model_dump(mode="json", exclude={"arms"}), "scale": scale,
            "arms": [arm.model_dump(mode="json") for arm in arms],
            "teacher": without_paths(teacher),
            "runs": [run for run in self.value["runs"] if (run["arm"], run["key"].split("/")[0]) in valid],
        }  # fmt: skip
        self._write()

    def add(self, arm: Arm, seed: int, teacher: str, figures: dict[str, Any]) -> None:
        own = {"key": key(arm, seed, teacher), "processor": processor()}
        self.value["runs"] = [run for run in self.value["runs"] if not own.items() <= run.items()]
        self.value["runs"].append({"arm": arm.name, "seed": seed, **own, **figures})
        self.value["runs"].sort(key=lambda run: (run["arm"], run["seed"]))
        self._write()

    def _write(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_json(self.path, self.value)


def key(arm: Arm, seed: int, teacher: str) -> str:
    return f"{arm.key(teacher)}/{seed}"


def run_arm(recipe_name: str, arm: Arm, seed: int, teacher: dict[str, Any]) -> dict[str, Any]:
    """One run in this process; the test set is opened once, after the last step."""
    import torch

    from ..runtime import keep_freed_memory

    keep_freed_memory("auto")
    recipe = find_recipe(recipe_name)
    torch.set_num_threads(recipe.threads)
    start, cpu = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        figures = find_experiment(recipe.experiment)(recipe, arm, seed, teacher, Path(folder))
    return figures | {
        "seconds": round(time.perf_counter() - start, 1), "cpu_seconds": round(time.process_time() - cpu, 1),
        "date": time.strftime("%Y-%m-%d"), "torch": torch.__version__, "machine": platform.machine(),
        "threads": recipe.threads, "cores": os.cpu_count(),
    }  # fmt: skip
