"""Clients, images, tests and a network of the user's own, from Python."""

from __future__ import annotations

import json
import threading

import numpy as np
import pytest
import torch
from tiny import differing, make_task
from tiny_clients import OPTIONS, make_data, make_net
from torch import nn

import sansdata
from sansdata.errors import ConfigError, DataError, MethodError, ResumeError, StudentError

HOW = {"rounds": 2, "threads": 1, "options": {"local": {"steps": 2, "batch": 4}}}


def arrays(client: int, size: int = 20) -> tuple[np.ndarray, np.ndarray]:
    data = make_data(client, size)
    return data.images.permute(0, 2, 3, 1).numpy(), data.labels.numpy()


def federate(out, clients, **more):
    how = {"network": make_net(), "task": make_task(), "out": out} | HOW | more
    return sansdata.federate(clients=clients, **how)


def test_own_clients_and_an_own_network(tmp_path):
    images, labels = arrays(1)
    np.savez(tmp_path / "south.npz", x=images, y=labels)
    module = make_net()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    done = sansdata.federate(
        clients={
            "north": arrays(0), "south": str(tmp_path / "south.npz"),
            "west": sansdata.Client(arrays(2), test=arrays(2, 11)),
        },
        network=module, task=make_task(), out=tmp_path / "run", active=3, **HOW,
    )  # fmt: skip
    assert not differing(before, module.state_dict())
    dealt = json.loads((tmp_path / "run/partition.json").read_text())
    assert [(one["owner"], one["images"]) for one in dealt["clients"]] == [("north", 17), ("south", 17), ("west", 20)]
    assert done.metrics[-1]["taken"] == 3
    assert len(done.summary["personal_accuracy"]["each"]) == 3
    for name in ("clients_accuracy", "majority_accuracy", "local_only_accuracy"):
        assert 0 <= done.summary[name]["mean"] <= 1
    assert isinstance(done.student, type(module))
    assert differing(before, done.student.state_dict())
    page = (tmp_path / "run/report.html").read_text()
    assert all(owner in page for owner in ("north", "south", "west"))
    again = federate(tmp_path / "other", [arrays(0), arrays(1), sansdata.Client(arrays(2), arrays(2, 11))], active=3)
    assert not differing(done.student.state_dict(), again.student.state_dict())


def test_client_models_of_an_own_network_after_a_change_of_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = federate("run", {"a": arrays(0), "b": arrays(1)}, method="fedd2s", active=2)
    monkeypatch.chdir("/")
    assert done.summary["rounds"] == 2
    assert done.student is None
    assert differing(done.personal(0).state_dict(), done.personal(1).state_dict())


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("method", ["fedavg", "fedftg", "fedd2s"])
def test_an_own_network_may_have_been_asked_before(method, tmp_path):
    """The old `weight_norm` keeps the weight of its last pass, with its history, which copy.deepcopy refuses."""
    module = make_net()
    module[0][0] = nn.utils.weight_norm(module[0][0])
    module(torch.zeros(1, 1, 8, 8))
    done = federate(tmp_path, [arrays(0), arrays(1)], network=module, method=method, options=OPTIONS[method])
    assert isinstance(done.student or done.personal(0), nn.Sequential)


def test_an_own_network_in_double_precision_learns_in_single(tmp_path):
    done = federate(tmp_path, [arrays(0), arrays(1)], network=make_net().double())
    same = federate(tmp_path / "single", [arrays(0), arrays(1)])
    assert not differing(done.student.state_dict(), same.student.state_dict())


def test_an_own_network_with_groups_in_place_of_batches_is_read_again(tmp_path):
    done = federate(tmp_path, [arrays(0), arrays(1)], batch_norm="group")
    assert isinstance(done.student[0][1], nn.GroupNorm)


def test_an_own_network_that_cannot_be_copied_is_one_error_and_leaves_nothing(tmp_path):
    module = make_net()
    module.lock = threading.Lock()
    with pytest.raises(StudentError, match="cannot be copied"):
        federate(tmp_path / "run", [arrays(0), arrays(1)], network=module)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("clients", "error", "text"),
    [
        ({}, ConfigError, "at least one"),
        ({"a": "nowhere.npz"}, DataError, "a, train: .*nowhere"),
        ({"a": (np.zeros((3, 8, 8, 1), np.uint8), np.array([0, 1, 9]))}, DataError, "a, train"),
        ({"a": (np.zeros((3, 8, 8, 3), np.uint8), np.array([0, 1, 2]))}, DataError, "a, train"),
        ({"a": (np.zeros((3, 8, 8, 1), np.float32), np.array([0, 1, 2]))}, DataError, "uint8"),
        ({"a": (np.zeros((3, 8, 8, 1), np.uint8), np.array([0.5, 1, 2]))}, DataError, "int64"),
        ({"a": (np.zeros((3, 8, 8, 1), np.uint8), np.array([0, 1]))}, DataError, "3 images but 2 labels"),
        ({"a": (np.zeros((0, 8, 8, 1), np.uint8), np.zeros(0, np.int64))}, DataError, "no images"),
        ({"a": (np.zeros((1, 8, 8, 1), np.uint8), np.array([0]))}, DataError, "one image"),
        ({"a": 7}, DataError, "expected a set's name"),
        (2.5, ConfigError, "expected how many"),
        ("digits", ConfigError, "expected how many"),
        ({"a": (1, 2, 3)}, DataError, "expected a set's name"),
    ],
    ids=range(13),
)
def test_wrong_clients_are_one_error_by_name_and_leave_nothing(clients, error, text, tmp_path):
    with pytest.raises(error, match=text):
        federate(tmp_path / "run", clients)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "error", "text"),
    [
        ({"data": "digits"}, ConfigError, "one of both"),
        ({"partition": {"alpha": 1.0}}, ConfigError, "not dealt out"),
        ({"task": None}, ConfigError, "task"),
        ({"active": 5}, ConfigError, "only 2 clients"),
        ({"method": "fedavgg"}, MethodError, "fedavg"),
    ],
    ids=range(5),
)
def test_what_does_not_go_with_own_clients(words, error, text, tmp_path):
    with pytest.raises(error, match=text):
        federate(tmp_path / "run", [arrays(0), arrays(1)], **words)
    with pytest.raises(ConfigError, match="one of both"):
        sansdata.federate(out=tmp_path / "run")


def test_other_images_or_weights_are_no_resume(tmp_path):
    federate(tmp_path / "run", [arrays(0), arrays(1)])
    manifest = json.loads((tmp_path / "run/run.json").read_text())
    (tmp_path / "run/run.json").write_text(json.dumps(manifest | {"status": "interrupted"}))
    with pytest.raises(ResumeError, match="partition was"):
        federate(tmp_path / "run", [arrays(0), arrays(3)], resume=True)
    with pytest.raises(ResumeError, match="data was"):  # the same training images, and others to test on
        federate(tmp_path / "run", [arrays(0), sansdata.Client(arrays(1), arrays(4))], resume=True)
    with pytest.raises(ResumeError, match="start was"):
        federate(tmp_path / "run", [arrays(0), arrays(1)], network=make_net(1), resume=True)
    done = federate(tmp_path / "run", [arrays(0), arrays(1)], resume=True)
    assert torch.isfinite(torch.tensor(done.summary["accuracy"]))


@pytest.mark.parametrize("part", ["x", "y"])
def test_a_set_with_other_images_under_the_same_labels_is_no_resume(part, tmp_path):
    """The specimen: what was dealt out was hashed by places and counts of classes, and not by what stands there."""
    images, labels = arrays(0, 60)

    def go(resume: bool):
        np.savez(tmp_path / "set.npz", x=images, y=labels)
        return sansdata.federate(
            tmp_path / "set.npz", out=tmp_path / "run", clients=2, task=make_task(), network=make_net(),
            partition={"scheme": "iid", "smallest": 1}, resume=resume, **HOW,
        )  # fmt: skip

    go(False)
    manifest = json.loads((tmp_path / "run/run.json").read_text())
    (tmp_path / "run/run.json").write_text(json.dumps(manifest | {"status": "interrupted"}))
    if part == "x":
        images[7, 0, 0] ^= 1
    else:
        first, second = np.flatnonzero(labels == labels[0])[0], np.flatnonzero(labels != labels[0])[0]
        labels[[first, second]], images[[first, second]] = labels[[second, first]], images[[second, first]]
    with pytest.raises(ResumeError, match="data was"):
        go(True)


def test_owners_keep_their_names(tmp_path):
    images, labels = arrays(0, 60)
    np.savez(tmp_path / "set.npz", x=images, y=labels, owner=np.array(["ann", "bob", "eve"] * 20))
    done = sansdata.federate(
        tmp_path / "set.npz", out=tmp_path / "run", clients=3, task=make_task(), network=make_net(),
        partition={"scheme": "natural", "smallest": 1}, **HOW,
    )  # fmt: skip
    dealt = json.loads((done.run_dir / "partition.json").read_text())
    assert [one["owner"] for one in dealt["clients"]] == ["ann", "bob", "eve"]
    assert '<th scope="row">bob</th>' in (done.run_dir / "report.html").read_text()
