"""A whole run: the same again, stopped and continued bitwise, from the command, with its page."""

from __future__ import annotations

import json
import re
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import WORLDS, differing, student_of
from tiny_clients import make_run, model_of
from typer.testing import CliRunner

import sansdata
from sansdata.cli.main import app
from sansdata.contracts import Requirements
from sansdata.engine.checkpoint import Checkpoints
from sansdata.errors import (
    ConfigError,
    DataError,
    DivergedError,
    Interrupted,
    MethodError,
    ResumeError,
    RunDirectoryError,
    SansdataError,
    StudentError,
)
from sansdata.federated.fedavg import FedAvgClient
from sansdata.federated.index import FEDERATED, federated_config, find_server, require_task
from sansdata.federated.local_only import local_only_model
from sansdata.federated.round import select
from sansdata.federated.scores import TestSet, majority_share
from sansdata.report.federated import clients, reached, traffic
from sansdata.report.federated_files import FederatedFiles
from sansdata.report.tree import Tree
from sansdata.runtime import Runtime


def memories(run) -> dict[str, torch.Tensor]:
    return {f"{client}/{name}": value for client, kept in run.memories.items() for name, value in kept.items()}


@pytest.mark.parametrize("method", FEDERATED)
@pytest.mark.parametrize("batch_norm", ["average", "local"])
def test_stopped_and_continued_is_bitwise_the_same(method, batch_norm, tmp_path):
    whole = make_run(method, batch_norm=batch_norm)
    for _ in range(4):
        whole.run_round()
    half = make_run(method, batch_norm=batch_norm)
    half.run_round(), half.run_round()
    checkpoints = Checkpoints(tmp_path, Runtime())
    path = checkpoints.save(2, half.state(), {})
    resumed = make_run(method, batch_norm=batch_norm)
    checkpoints.load(path, resumed.state())
    resumed.run_round(), resumed.run_round()
    assert not differing(model_of(whole), model_of(resumed))
    assert not differing(memories(whole), memories(resumed))


@pytest.mark.parametrize("method", FEDERATED)
def test_a_seed_decides(method):
    def after(seed: int) -> dict[str, torch.Tensor]:
        run = make_run(method, seed=seed)
        run.run_round(), run.run_round()
        return model_of(run) | memories(run)

    assert not differing(after(0), after(0))
    assert differing(after(0), after(1))


@pytest.mark.parametrize("method", FEDERATED)
def test_the_global_generator_is_left_alone(method):
    run = make_run(method)
    torch.manual_seed(3)
    before = torch.get_rng_state()
    run.run_round(), run.run_round()
    assert torch.equal(before, torch.get_rng_state())


def test_another_client_changes_nobody_elses_stream():
    few, many = make_run(clients=3, active=3), make_run(clients=4, active=4)
    replies = []
    for run in (few, many):
        messages = run.server.configure(0, range(3))
        replies.append([run._ask(0, client, messages[client]).parts["model"] for client in range(3)])
    assert all(not differing(a, b) for a, b in zip(*replies))


def test_measuring_changes_nothing():
    """Personalising trains at every client; the run must not notice."""
    for method in FEDERATED:
        watched, plain = make_run(method), make_run(method)
        data = [watched.data[client] for client in range(4)]
        images, labels = torch.cat([one.images for one in data]), torch.cat([one.labels for one in data])
        tests = TestSet(images, labels, tuple(np.arange(5) for _ in data))
        for _ in range(3):
            watched.run_round(), plain.run_round()
            found = watched.measure(tests, personal=True)
            assert ("accuracy" in found) == find_server(method).has_global_model
            assert len(found["personal_accuracy"]["each"]) == 4
        assert not differing(model_of(watched), model_of(plain)), method
        assert not differing(memories(watched), memories(plain)), method


def test_a_client_without_test_images_keeps_its_place_among_the_others(tmp_path: Path):
    """Nothing of the test set fits client 0, and the share of client 1 is not to stand in its row."""
    run = make_run(clients=3)
    images = torch.cat([run.data[1].images, run.data[2].images])
    labels = torch.cat([run.data[1].labels, run.data[2].labels])
    tests = TestSet(images, labels, (np.arange(0), np.arange(len(run.data[1].labels)), np.arange(len(labels))))
    found = run.measure(tests, personal=True)
    for name in ("clients_accuracy", "personal_accuracy", "majority_accuracy"):
        assert [value is None for value in found[name]["each"]] == [True, False, False]
    majority = [majority_share(run.data[n].counts(4), labels[tests.per_client[n]]) for n in (1, 2)]
    assert found["majority_accuracy"]["each"][1:] == majority
    files = FederatedFiles(tmp_path, {}, {}, {}, None, ["A", "B", "C"], [found], Tree(None), [])
    assert [(row[0], row[2][-1]) for row in clients(files)] == [
        ("A", ""), ("B", f"{100 * majority[0]:.1f}"), ("C", f"{100 * majority[1]:.1f}"),
    ]  # fmt: skip


def test_the_order_of_the_clients_does_not_matter():
    one, other = make_run(), make_run()
    messages = one.server.configure(0, range(3)), other.server.configure(0, range(3))
    forwards = {client: one._ask(0, client, messages[0][client]) for client in (0, 1, 2)}
    backwards = {client: other._ask(0, client, messages[1][client]) for client in (2, 1, 0)}
    assert all(not differing(forwards[c].parts["model"], backwards[c].parts["model"]) for c in range(3))


def test_selection():
    chosen = [select(0, round, 10, 4) for round in range(50)]
    assert all(one == sorted(set(one)) and len(one) == 4 for one in chosen)
    assert {client for one in chosen for client in one} == set(range(10))
    for round in range(20):  # a client more can only take a place, never change who comes first among the others
        few, many = select(0, round, 9, 4), select(0, round, 10, 4)
        assert set(many) - {9} <= set(few)


# -- the command

ARGS = ["--data", "digits", "--clients", "4", "--alpha", "0.5", "--rounds", "3", "--threads", "1", "local.steps=2",
        "local.lr=0.1",
        "checkpoint_every=1", "evaluate_every=2"]  # fmt: skip


def command(out: Path, *more: str):
    return CliRunner().invoke(app, ["federate", *ARGS, "--out", str(out), *more])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("federate") / "run"
    done = command(out)
    assert done.exit_code == 0, done.output + repr(done.exception)
    return out


def test_what_a_run_leaves(finished):
    summary, manifest = (json.loads((finished / f"{name}.json").read_text()) for name in ("summary", "run"))
    lines = [json.loads(text) for text in (finished / "metrics.jsonl").read_text().splitlines()]
    assert manifest["status"] == "done"
    assert [line["round"] for line in lines] == [0, 1, 2]
    assert ["accuracy" in line for line in lines] == [False, True, True]
    for way in ("down", "up"):
        assert summary[way]["model"] == sum(line[way]["model"] for line in lines)
    assert 0 <= summary["clients_accuracy"]["worst_tenth"] <= summary["clients_accuracy"]["mean"] <= 1
    assert summary["personal_accuracy"]["mean"] > 0.3
    dealt = json.loads((finished / "partition.json").read_text())
    assert (dealt["scheme"], dealt["alpha"], len(dealt["clients"])) == ("dirichlet-class", 0.5, 4)


def test_the_page_is_whole_and_offline(finished):
    page = (finished / "report.html").read_text()
    assert page.count("<svg") == 4  # accuracy, spread, partition, seconds
    assert not re.search(r"""(src|href)\s*=\s*["']https?:""", page)
    assert "single models of every active client" in page


def test_what_was_measured_afterwards_stands_on_the_page(finished, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    assert "Measured afterwards" not in (out / "report.html").read_text()
    measured = sansdata.evaluate(out, "digits")
    page = sansdata.report(out).read_text()
    assert "Measured afterwards" in page
    assert f"{100 * measured.accuracy:.2f}" in page[page.index("Measured afterwards") :]


def test_the_page_counts_per_round_and_says_when_a_level_was_reached():
    summary = {"down": {"model": 600, "facts": 3}, "up": {"model": 600, "labels": 20}, "rounds": 2}
    rows = dict(traffic(summary))
    assert rows["model"] == ["600", "600", "300", "300"]
    assert rows["labels"] == ["0", "20", "0", "10"]
    assert rows["all"] == ["603", "620", "302", "310"]
    assert reached({"0.2": 5, "0.25": 5, "0.3": 10, "0.35": None}) == [("0.25", 5), ("0.3", 10)]


def test_the_model_is_a_student_like_any_other(finished):
    measured = sansdata.evaluate(f"fedgen-cnn@{finished / 'student.safetensors'}", "digits", "digits")
    summary = json.loads((finished / "summary.json").read_text())
    assert measured.accuracy == pytest.approx(summary["accuracy"])


def test_resume_in_a_new_object_gives_the_same_files(finished, tmp_path):
    """The run directory as a kill after the second round leaves it."""
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    for name in ("student.safetensors", "summary.json", "report.html"):
        (out / name).unlink()
    newest = sorted((out / "checkpoints").glob("step-*"))[-1]
    assert newest.name == "step-000000003"
    shutil.rmtree(newest)
    manifest = json.loads((out / "run.json").read_text())
    (out / "run.json").write_text(json.dumps(manifest | {"status": "running"}))
    text = (out / "metrics.jsonl").read_text()
    (out / "metrics.jsonl").write_text(text[: len(text) - 40])
    done = command(out, "--resume")
    assert done.exit_code == 0, done.output + repr(done.exception)
    assert not differing(student_of(finished), student_of(out))
    drop = ("server_seconds", "client_seconds")
    lines = [
        [{k: v for k, v in json.loads(text).items() if k not in drop} for text in path.read_text().splitlines()]
        for path in (finished / "metrics.jsonl", out / "metrics.jsonl")
    ]
    assert lines[0] == lines[1]
    assert "resumed after round 2" in (out / "run.json").read_text()


def test_a_changed_setting_is_no_resume(finished, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    manifest = json.loads((out / "run.json").read_text())
    (out / "run.json").write_text(json.dumps(manifest | {"status": "interrupted"}))
    done = command(out, "--resume", "local.lr=0.5")
    assert isinstance(done.exception, ResumeError)
    assert "lr was 0.1, is 0.5" in str(done.exception)


@pytest.mark.parametrize(
    ("words", "error", "text"),
    [
        (["--method", "fedavgg"], MethodError, "Did you mean 'fedavg'"),
        (["local.lrr=1"], ConfigError, "lrr"),
        (["--partition", "dirichlet"], ConfigError, "dirichlet-class"),
        (["--active", "9"], ConfigError, "only 4 clients"),
        (["--clients", "0"], ConfigError, "clients"),
        (["--data", "nowhere.npz"], ConfigError, "--task"),
        (["--data", "nowhere.npz", "--task", "digits"], DataError, "nowhere"),
        (["--preset", "best"], MethodError, "no preset 'best'"),
        (["partition.smallest=2000"], ConfigError, "fewer than"),
        (["--partition", "natural"], ConfigError, "whose"),
        (["--batch-norm", "none"], ConfigError, "batch_norm"),
        (["--data", "wine"], MethodError, "its inputs are image, and the task's are table"),
    ],
)
def test_wrong_input_is_one_error_and_leaves_nothing(words, error, text, tmp_path):
    out = tmp_path / "run"
    done = command(out, *words)
    assert isinstance(done.exception, error), done.exception
    assert text in str(done.exception)
    assert not out.exists()


@pytest.mark.parametrize("method", FEDERATED)
@pytest.mark.parametrize("world", [name for name in WORLDS if name != "image"])
def test_a_task_of_another_kind_is_refused_before_anything_is_read(method, world, tmp_path):
    """The set is not there: what it would be, and a network for it, is never asked."""
    task, (inputs, outputs) = WORLDS[world].task.model_dump(mode="json"), WORLDS[world].task.pair
    other = f"image, and the task's are {inputs}" if inputs != "image" else f"classes, and the task's are {outputs}"
    with pytest.raises(MethodError, match=f"'{method}' cannot .* are {other}. Give ") as fault:
        sansdata.federate(tmp_path / "nowhere.csv", method, tmp_path / "run", task=task, network="no-such-network")
    assert fault.value.exit_code == 2
    assert not (tmp_path / "run").exists()


def test_a_method_declares_the_kinds_that_it_works_on(monkeypatch):
    """What is refused is what the method says, and nothing else."""
    config, task = federated_config("fedavg"), WORLDS["table"].task
    monkeypatch.setattr(
        find_server("fedavg"), "requires", lambda config: Requirements(inputs=frozenset({"image", "table"}))
    )
    require_task("fedavg", config, task)
    with pytest.raises(MethodError, match="image or table, and the task's are tokens"):
        require_task("fedavg", config, WORLDS["tokens"].task)


def test_an_existing_directory_is_left_alone(finished):
    assert isinstance(command(finished).exception, RunDirectoryError)


def test_group_norm_in_place_of_batch_norm(tmp_path):
    done = sansdata.federate(
        "digits", "fedavg", tmp_path / "run", clients=3, rounds=1, threads=1, batch_norm="group",
        partition={"scheme": "iid"}, options={"local": {"steps": 2}},
    )  # fmt: skip
    kinds = {type(part).__name__ for part in done.student.modules()}
    assert "GroupNorm" in kinds
    assert "BatchNorm2d" not in kinds
    assert done.metrics[-1]["taken"] == 1


# -- a measurement never ends a run, and a run that learned nothing is not done

FEW = {"data": "digits", "clients": 3, "active": 3, "rounds": 2, "threads": 1, "partition": {"scheme": "iid"},
       "options": {"local": {"steps": 2, "lr": 0.1}}, "evaluate_every": 1}  # fmt: skip


def test_clients_that_diverge_when_measured_are_left_out(tmp_path, monkeypatch):
    """The specimen: the last measurement trains once more, and that killed a finished run for good."""
    personalise, calls = FedAvgClient.personalise, []

    def diverge(self, payload, data, memory, streams):
        calls.append(len(data))
        if len(calls) == 2:
            raise DivergedError("the client's loss is not finite")
        personalise(self, payload, data, memory, streams)

    monkeypatch.setattr(FedAvgClient, "personalise", diverge)
    done = sansdata.federate(out=tmp_path / "run", **FEW)
    assert [one["client"] for one in done.metrics[-1]["unmeasured"]] == [1]
    assert [value is None for value in done.summary["personal_accuracy"]["each"]] == [False, True, False]
    assert json.loads((tmp_path / "run/run.json").read_text())["status"] == "done"
    assert "not finite" in (tmp_path / "run/report.html").read_text()


@pytest.mark.parametrize("fault", [RuntimeError("cuda"), MemoryError(), StudentError("odd")], ids=range(3))
def test_a_measurement_that_fails_ends_nothing(fault, tmp_path, monkeypatch):
    def fail(*given, **named):
        raise fault

    monkeypatch.setattr(TestSet, "correct", fail)
    done = sansdata.federate(out=tmp_path / "run", **FEW)
    assert done.student is not None
    assert done.metrics[-1]["taken"] == 3
    assert done.metrics[-1]["unmeasured"][0]["client"] is None
    assert type(fault).__name__ in (tmp_path / "run/events.log").read_text()


DISTIL = {"iterations": 1, "distil_steps": 1, "latent": 4, "width": 4, "transfer": {"batch": 6}}
FTG = FEW | {"method": "fedftg", "options": {"on": FEW["options"], "distil": DISTIL}}


@pytest.mark.parametrize("settings", [FEW, FTG], ids=["fedavg", "fedftg"])
def test_a_kill_during_the_last_measurement_loses_only_that(settings, tmp_path, monkeypatch):
    whole = sansdata.federate(out=tmp_path / "whole", **settings)

    def killed(*given, **named):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("sansdata.federated.in_process.InProcess.personal_model", killed)
        with pytest.raises(KeyboardInterrupt):
            sansdata.federate(out=tmp_path / "run", **settings)
    done = sansdata.federate(out=tmp_path / "run", resume=True, **settings)
    assert not differing(whole.student.state_dict(), done.student.state_dict())
    assert whole.metrics[-1].keys() == done.metrics[-1].keys()
    for name in (name for name in whole.summary if "accuracy" in name):
        assert done.summary[name] == whole.summary[name]


def test_a_signal_during_the_last_measurement_is_heard(tmp_path, monkeypatch):
    personalise = FedAvgClient.personalise

    def signalled(self, *given):
        signal.raise_signal(signal.SIGTERM)
        personalise(self, *given)

    with monkeypatch.context() as patch:
        patch.setattr(FedAvgClient, "personalise", signalled)
        with pytest.raises(Interrupted, match="saved"):
            sansdata.federate(out=tmp_path / "run", **FEW)
    assert json.loads((tmp_path / "run/run.json").read_text())["status"] == "interrupted"
    assert "personal_accuracy" in sansdata.federate(out=tmp_path / "run", resume=True, **FEW).summary


def test_a_run_in_which_nothing_was_taken_is_not_done(tmp_path):
    with pytest.raises(SansdataError, match=r"no reply was taken in any of 2 rounds.*not finite") as fault:
        sansdata.federate(out=tmp_path / "run", **FEW | {"options": {"local": {"steps": 4, "lr": 1e20}}})
    assert fault.value.exit_code == 1
    assert json.loads((tmp_path / "run/run.json").read_text())["status"] == "failed"
    assert "Nothing was learned" in (tmp_path / "run/report.html").read_text()


def test_local_only_is_training_by_oneself():
    """FedD2S without its exchange is the same thing, step by step."""
    run = make_run("fedd2s", {"client_weight": 0.0, "personal": "own"}, active=3)
    for _ in range(4):
        run.run_round()
    alone, own = local_only_model(run, True), run.personal_model()
    for client in range(4):
        alone(client)
        by_itself = {name: value.clone() for name, value in run.client.context.model.state_dict().items()}
        own(client)
        assert not differing(by_itself, dict(run.client.context.model.state_dict()))


def test_the_majority_class():
    assert majority_share(torch.tensor([3, 5, 0]), torch.tensor([1, 1, 0, 2])) == 0.5
    assert majority_share(torch.tensor([0, 5, 0]), torch.tensor([0, 2])) == 0.0
