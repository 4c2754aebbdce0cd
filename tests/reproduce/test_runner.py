"""Which runs of a recipe are missing, and that figures of several processors are kept beside each other."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sansdata.errors import DivergedError, MissingLibraryError, SansdataError
from sansdata.reproduce import runner
from sansdata.reproduce.recipes.model import Arm
from sansdata.reproduce.runner import Store

OURS, HOST = (Arm(name=name, role="method", method="fm", steps=5) for name in ("ours", "host"))
WANTED = [(arm, seed) for arm in (OURS, HOST) for seed in (0, 1)]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "r-small.json")


def run_on(monkeypatch: pytest.MonkeyPatch, processor: str) -> None:
    monkeypatch.setattr(runner, "processor", lambda: processor)


def test_a_run_that_ended_is_not_missing_and_one_that_failed_is(store: Store):
    store.add(OURS, 0, "t", {"accuracy": 0.5})
    store.add(HOST, 0, "t", {"failed": "no memory"})
    assert store.missing(WANTED, "t") == [(OURS, 1), (HOST, 0), (HOST, 1)]
    store.add(HOST, 0, "t", {"accuracy": 0.4})
    assert len(store.value["runs"]) == 2
    assert store.missing(WANTED, "t") == [(OURS, 1), (HOST, 1)]
    assert store.missing(WANTED, "another teacher") == WANTED


def test_a_seed_is_run_on_one_processor(store: Store, monkeypatch: pytest.MonkeyPatch):
    """Seed 0 was finished elsewhere and stands; of seed 1 one arm was, so that this processor makes both of it."""
    run_on(monkeypatch, "elsewhere")
    for arm, seed in ((OURS, 0), (HOST, 0), (OURS, 1)):
        store.add(arm, seed, "t", {"accuracy": 0.5})
    run_on(monkeypatch, "here")
    assert store.missing(WANTED, "t") == [(OURS, 1), (HOST, 1)]
    store.add(OURS, 1, "t", {"accuracy": 0.6})
    assert store.missing(WANTED, "t") == [(HOST, 1)]
    kept = json.loads(store.path.read_text())["runs"]
    assert {(run["arm"], run["processor"]) for run in kept if run["seed"] == 1} == {
        ("ours", "elsewhere"),
        ("ours", "here"),
    }


def test_an_arm_whose_code_has_changed_is_missing_again(store: Store):
    """Nothing of the settings tells: the arm's revision does; one that was never raised leaves keys as they are."""
    store.add(OURS, 0, "t", {"accuracy": 0.5})
    assert store.missing([(OURS, 0)], "t") == []
    changed = OURS.model_copy(update={"revision": 1})
    assert store.missing([(changed, 0)], "t") == [(changed, 0)]
    assert "revision" not in OURS.settings()


@pytest.fixture
def run_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[SansdataError], list[dict]]:
    """What is kept of a recipe of 33 runs, all of which meet a fault."""

    def runs(fault: SansdataError) -> list[dict]:
        def run(*_: object) -> None:
            raise fault

        monkeypatch.setattr(runner, "run_arm", run)
        monkeypatch.setattr(runner, "ensure_teacher", lambda recipe: {"spec": "t", "sha256": "t"})
        monkeypatch.setattr(runner, "ProcessPoolExecutor", lambda workers, *_: ThreadPoolExecutor(workers))
        monkeypatch.setattr(runner, "write_page", lambda docs: docs)
        with contextlib.suppress(MissingLibraryError):
            runner.reproduce("boot-ring", seeds=3, docs=tmp_path)
        return json.loads((tmp_path / "reproduction" / "boot-ring-small.json").read_text())["runs"]

    return runs


def test_a_run_that_diverges_is_a_finding_and_leaves_the_others_alone(run_of: Callable) -> None:
    assert len(run_of(DivergedError("nan"))) == 33


def test_what_is_missing_here_is_said_once_and_is_no_finding(run_of: Callable) -> None:
    assert run_of(MissingLibraryError("needs espeak-ng")) == []
