"""A service over HTTP that answers, stumbles and lies, on this machine: rows about remote teachers of the reliability
table."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from loopback_service import Loopback, example

import sansdata
from sansdata.contracts import Access
from sansdata.errors import BudgetSpent, TeacherError
from sansdata.manner import TRIED
from sansdata.tasks import Task
from sansdata.teachers.base import Teacher
from sansdata.teachers.service import http, remote
from sansdata.teachers.services import journals, services
from sansdata.teachers.specs import load_teacher
from sansdata.testing.worlds import WORLDS

WORLD = WORLDS["image"]
KEY = "secret-key"
CLASSES = WORLD.task.classes


@cache
def network() -> Teacher:
    return WORLD.teacher()


def predict(images: np.ndarray) -> np.ndarray:
    """What the world's network says, rows by themselves."""
    with torch.no_grad():
        return network()(torch.from_numpy(images)).logits.softmax(1).numpy()


class Place:
    """A service that runs, and the file that describes it."""

    def __init__(self, folder: Path, options: dict[str, Any]) -> None:
        self.service = example().Service(**{"predict": predict, "key": KEY, **options})
        self.loopback, self.file = Loopback(self.service), folder / "service.yaml"

    def offer(self, lines: str = "") -> str:
        self.file.write_text(f"url: {self.loopback.url}\npermitted: true\nbatch: 8\n{lines}\n")
        return str(self.file)

    def teacher(self, lines: str = "", task: Task = WORLD.task) -> Teacher:
        return load_teacher(self.offer(lines), task)


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[..., Place]]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("SANSDATA_API_KEY", KEY)
    monkeypatch.setattr(http.time, "sleep", lambda seconds: None)
    running: list[Place] = []

    def start(**options: Any) -> Place:
        running.append(Place(tmp_path, options))
        return running[-1]

    yield start
    for place in running:
        place.loopback.stop()


def images(count: int = 12, seed: int = 2) -> torch.Tensor:
    """On the levels of 8 bits, so that a PNG holds them whole."""
    drawn = torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(seed))
    return (drawn * 255).round() / 255


def exact(count: int = 12) -> torch.Tensor:
    return torch.from_numpy(predict(images(count).numpy()))


# -- good answers


@pytest.mark.parametrize("sent", ["png", "float32"])
def test_probabilities_come_as_the_model_has_them_in_order(serve, sent):
    place = serve()
    teacher = place.teacher(f"inputs: {sent}")
    assert teacher.access == Access.SCORES
    torch.testing.assert_close(teacher(images()).logits.softmax(1), exact(), rtol=1e-4, atol=1e-5)
    assert (place.service.requests, place.service.samples) == (2, 12)
    assert (teacher.meter.requests, teacher.meter.samples) == (2, 12)


@pytest.mark.parametrize(
    ("options", "lines"),
    [
        ({"shows": "logits"}, "answers: logits"), ({"shows": "top-k", "top": 2}, "answers: top-k\ntop: 2"),
        ({"shows": "labels"}, "answers: labels"), ({"decimals": 2}, "decimals: 2"),
    ],
)  # fmt: skip
def test_whatever_it_shows_names_the_models_classes(serve, options, lines):
    said = serve(**options).teacher(lines)(images()).logits
    sure = exact().amax(1) > 0.51
    assert torch.equal(said.argmax(1)[sure], exact().argmax(1)[sure])
    assert torch.isfinite(said).all()


@pytest.mark.parametrize("shows", ["probabilities", "top-k", "labels"])
def test_classes_may_be_named_in_any_order(serve, shows):
    names = ("apple", "pear", "plum", "quince")
    task = WORLD.task.model_copy(update={"class_names": names})
    place = serve(names=names, shows=shows, top=4)
    assert torch.equal(place.teacher(f"answers: {shows}\ntop: 4", task)(images()).logits.argmax(1), exact().argmax(1))


def test_nothing_is_asked_twice_in_a_call_in_a_process_or_in_the_next(serve):
    place = serve()
    teacher = place.teacher()
    twice = torch.cat([images(4), images(4)])
    first = teacher(twice).logits
    assert place.service.samples == 4
    assert torch.equal(teacher(images(4)).logits, first[:4])
    assert place.service.samples == 4
    again = place.teacher()
    assert torch.equal(again(images(4)).logits, first[:4])
    assert place.service.samples == 4 + remote.PROBED  # is it still the same model?
    again(images(4))
    assert place.service.samples == 4 + remote.PROBED


def test_whether_it_is_the_same_model_is_asked_in_requests_of_its_size(serve):
    place = serve()
    sizes: list[int] = []
    place.service.predict = lambda rows: (sizes.append(len(rows)), predict(rows))[1]
    for lines in ("batch: 1", "batch: 1"):
        place.file.write_text(f"url: {place.loopback.url}\npermitted: true\n{lines}\n")
        load_teacher(str(place.file), WORLD.task)(images(5))
    assert sizes == [1] * (5 + remote.PROBED)
    teacher = load_teacher(place.offer("limits: {samples: 9}"), WORLD.task)
    for _ in range(2):  # a question about it that was not answered is no answer
        with pytest.raises(BudgetSpent):
            teacher(images(5))


def test_a_changed_model_is_noticed_and_a_new_version_is_kept_apart(serve):
    place = serve()
    place.teacher()(images())
    place.service.predict = lambda rows: predict(rows)[:, ::-1]
    with pytest.raises(TeacherError, match="its model has changed"):
        place.teacher()(images())
    place.service.version = "2"
    fresh = place.teacher('version: "2"')(images()).logits
    torch.testing.assert_close(fresh.softmax(1), exact().flip(1), rtol=1e-4, atol=1e-5)


def test_what_was_answered_before_a_kill_is_kept(serve):
    place = serve(faults=["none", "400"])
    with pytest.raises(TeacherError, match="status 400"):
        place.teacher("rate: {at_once: 1}")(images(16))
    (journal,) = journals(str(place.file), WORLD.task)
    with journal.open("ab") as file:
        file.write(b'{"answers": {"cut of')  # as a kill leaves it
    before = place.service.samples
    place.teacher()(images(16))
    assert place.service.samples == before + remote.PROBED + 8


class Killed(BaseException):
    """As SIGKILL: nothing is done afterwards."""


def test_limits_hold_over_kills(serve, monkeypatch):
    """What was sent and not yet answered stands in the journal; a question that never left is taken out again."""
    place = serve()
    with monkeypatch.context() as patch:
        patch.setattr(http.Client, "_exchange", lambda *_: (_ for _ in ()).throw(Killed))
        for seed in range(2):
            with pytest.raises(Killed):
                place.teacher("limits: {samples: 20}")(images(8, seed))
    third = place.teacher("limits: {samples: 20}")
    assert (third.meter.samples, third.meter.requests) == (16, 2)
    with pytest.raises(BudgetSpent):
        third(images(8))
    place.loopback.stop()
    with pytest.raises(TeacherError, match="gives no answer"):
        place.teacher("limits: {samples: 24}")(images(8))
    last = place.teacher("limits: {samples: 20}")
    assert (last.meter.samples, last.meter.requests) == (16, 2)


def test_another_order_of_the_classes_is_another_journal(serve):
    """Named answers are kept as numbers."""
    names, other = ("apple", "pear", "plum", "quince"), ("pear", "apple", "plum", "quince")
    place = serve(names=names, shows="labels")
    several = [WORLD.task.model_copy(update={"class_names": order}) for order in (other, names)]
    wrong, right = (place.teacher("answers: labels", task)(images()).logits.argmax(1) for task in several)
    assert torch.equal(right, exact().argmax(1))
    assert torch.equal(torch.tensor([1, 0, 2, 3])[wrong], right)
    assert len({str(journal) for task in several for journal in journals(str(place.file), task)}) == 2


def test_two_processes_share_a_journal(serve):
    place = serve()
    one, two = place.teacher("limits: {samples: 20}"), place.teacher("limits: {samples: 20}")
    one(images(8))
    two(images(8, seed=3))
    assert (two.module.journal.spent["samples"], one.module.journal.spent["samples"]) == (16, 8)
    with pytest.raises(BudgetSpent):
        two(images(8, seed=4))


def test_the_key_is_sent_and_written_nowhere(serve, tmp_path):
    place = serve()
    place.teacher()(images())
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) == 2  # the file of the service and the journal
    assert not any(KEY in path.read_text() for path in written)
    place.service.key = "another"
    with pytest.raises(TeacherError, match="status 401"):
        place.teacher()(images(3, seed=5))


def test_a_key_is_read_without_what_surrounds_it(serve, monkeypatch):
    monkeypatch.setenv("SANSDATA_API_KEY", f" {KEY}\r\n")  # of a file with Windows' ends of lines
    serve().teacher()(images(3))


@pytest.mark.parametrize("key", ["top\r\nsecret", "top\x1bsecret", "topключsecret", "topésecret"])
def test_what_no_header_can_hold_is_no_key_and_is_not_shown(serve, monkeypatch, key):
    monkeypatch.setenv("SANSDATA_API_KEY", key)
    place = serve()
    teacher = place.teacher()
    with pytest.raises(TeacherError, match="SANSDATA_API_KEY is no key") as told:
        teacher(images(3))
    assert "secret" not in str(told.value)
    assert (place.service.requests, teacher.meter.samples, teacher.module.journal.spent["samples"]) == (0, 0, 0)


def test_a_header_that_cannot_be_written_is_not_shown(serve, monkeypatch):
    teacher = serve().teacher()
    monkeypatch.setattr(http.Client, "_headers", lambda self: {"Authorization": f"Bearer {KEY}\r"})
    with pytest.raises(TeacherError, match="no request can be made") as told:
        teacher(images(3))
    assert KEY not in str(told.value)


# -- stumbling


@pytest.mark.parametrize("fault", ["429", "500", "503", "reset", "cut-off"])
def test_a_service_that_stumbles_is_asked_again(serve, fault):
    place = serve(faults=[fault, fault])
    torch.testing.assert_close(place.teacher()(images(5)).logits.softmax(1), exact(5), rtol=1e-4, atol=1e-5)
    assert place.service.requests == 3


def test_an_answer_that_did_not_come_counts_as_paid(serve):
    place = serve(faults=["reset", "429", "none"])
    teacher = place.teacher()
    teacher(images(5))
    assert teacher.meter.samples == 10  # the reset may have been counted; the refusal was none
    assert teacher.module.journal.spent["samples"] == 10


def test_trying_again_keeps_the_limit(serve):
    place = serve(faults=["reset"] * 5)
    teacher = place.teacher("limits: {samples: 12}")
    with pytest.raises(BudgetSpent, match="limit"):
        teacher(images(5))
    assert place.service.requests == 2
    assert teacher.module.journal.spent["samples"] == 10  # the one that was lost last, too


def test_after_a_refusal_nothing_more_is_asked(serve):
    place = serve(faults=["400"] * 40)
    with pytest.raises(TeacherError, match="status 400"):
        place.teacher("rate: {at_once: 2}")(images(320))
    assert place.service.requests <= 2


def test_what_never_left_is_not_counted(serve):
    place = serve()
    teacher = place.teacher("limits: {samples: 1000}")
    place.loopback.stop()
    with pytest.raises(TeacherError, match="gives no answer"):
        teacher(images(64))
    assert (teacher.meter.samples, teacher.meter.requests) == (0, 0)
    assert teacher.module.journal.spent["samples"] == 0


def test_one_input_that_failed_is_asked_again_by_itself(serve):
    place = serve(faults=["one-failed"])
    torch.testing.assert_close(place.teacher()(images(5)).logits.softmax(1), exact(5), rtol=1e-4, atol=1e-5)
    assert place.service.samples == 6
    place.service.faults = ["one-failed", "one-failed"]
    with pytest.raises(TeacherError, match="no answer for 1 inputs"):
        place.teacher()(images(5, seed=8))


def test_answers_in_another_order_are_put_right(serve):
    place = serve(faults=["mixed-up"])
    torch.testing.assert_close(place.teacher()(images(5)).logits.softmax(1), exact(5), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("400", "status 400"), ("redirect", "status 302"), ("html", "something else"), ("empty", "something else"),
        ("list", "something else"), ("deep", "something else"), ("truncated", "something else"),
        ("endless", "more than 100,000 bytes"), ("nan", "'nan' where a number"), ("infinite", "'inf' where a number"),
        ("negative", "no distribution"), ("no-distribution", "no distribution"), ("short-row", "are 3 and not 4"),
        ("long-row", "are 5 and not 4"), ("text", "'0.1' where a number"), ("truth-values", "'True' where a number"),
        ("no-field", "has no 'probabilities'"), ("fewer", "with 4 answers"), ("more", "with 6 answers"),
        ("same-ids", "ids"), ("other-version", "version '2' now"),
    ],
)  # fmt: skip
def test_a_wrong_answer_is_one_clear_error_and_is_paid_for(serve, monkeypatch, fault, message):
    monkeypatch.setattr(http, "MAX_ANSWER_BYTES", 100_000)
    place = serve(faults=[fault])
    teacher = place.teacher('version: "1"')
    with pytest.raises(TeacherError, match=message) as told:
        teacher(images(5))
    assert KEY not in str(told.value)
    assert teacher.module.journal.spent["samples"] == 5
    assert not teacher.module.journal.answers
    teacher(images(5))  # nothing wrong was kept


def test_a_class_that_the_task_does_not_have_is_an_error(serve):
    with pytest.raises(TeacherError, match="'zebra'"):
        serve(shows="labels", faults=["unknown-class"]).teacher("answers: labels")(images(5))


def test_an_answer_that_never_ends_slowly_is_given_up(serve, monkeypatch):
    monkeypatch.setattr(http, "PATIENCE", 0.0)
    place = serve(faults=["none"] * 20)
    with pytest.raises(TeacherError, match="gives no answer"):
        place.teacher()(images(5))
    assert place.service.requests <= http.ATTEMPTS


def test_requests_are_paced(serve, monkeypatch):
    waits: list[float] = []
    monkeypatch.setattr("sansdata.teachers.service.pace.time.monotonic", lambda: 100.0)
    monkeypatch.setattr("sansdata.teachers.service.pace.time.sleep", waits.append)
    teacher = serve().teacher("rate: {requests: 2, samples: 8, at_once: 1}")
    teacher(images(32))  # 4 requests of 8: two seconds' worth of requests, four of samples; the first second is free
    assert waits == [pytest.approx(1.0), pytest.approx(2.0), pytest.approx(3.0)]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://example.org/v1", "in the clear"), ("https://me:pw@host.example/v1", "secret"),
        ("https://host.example/v1?key=1", "secret or a query"), ("ftp://host.example", "https://host/path"),
        ("https://[half/v1", "readable"), ("https://host.example/a b", "a space"),
        ("https://host.example/ä", "a space or another letter"), ("https://ho st/v1", "a space"),
        (f"https://{'a' * 70}.example/v1", "a space or another letter"),
    ],
)  # fmt: skip
def test_a_wrong_address_says_what_is_expected(tmp_path, url, message):
    (tmp_path / "service.yaml").write_text(f"url: {url}\npermitted: true\n")
    with pytest.raises(TeacherError, match=message):
        load_teacher(str(tmp_path / "service.yaml"), WORLD.task)


def test_the_address_is_asked_as_it_is_written(serve):
    place, paths = serve(), []
    handler = place.loopback.server.RequestHandlerClass
    post = handler.do_POST  # type: ignore[attr-defined]
    handler.do_POST = lambda self: (paths.append(self.path), post(self))[1]  # type: ignore[attr-defined]
    for end in ("/", ""):
        place.file.write_text(f"url: {place.loopback.url}{end}\npermitted: true\n")
        load_teacher(str(place.file), WORLD.task)(images(2))
    assert paths == ["/v1/predict/", "/v1/predict"]


# -- whole runs


def test_a_strict_run_over_http_asks_what_was_said_and_a_second_one_nothing(serve, tmp_path, capsys):
    place, spent = serve(), []
    for name in ("run", "again"):
        # What was answered is not asked again, so a limit below what the run says does not stop the second one.
        limit = f"limits: {{samples: {place.service.samples + TRIED}}}" if spent else ""
        result = sansdata.distill(
            place.offer(f'price: {{sample: "0.01"}}\n{limit}'), WORLD.network, "dfme", "200queries", tmp_path / name, 3,
            task=WORLD.task, strict=True, options={"latent": 16, "width": 8, "transfer": {"batch": 8}},
        )  # fmt: skip
        ledger = json.loads((tmp_path / name / "ledger.json").read_text())
        assert ledger["violations"] == []
        spent.append((place.service.samples, result.summary["service"]))
    assert {file["role"] for file in ledger["files"]} >= {"journal", "teacher"}
    plan = json.loads((tmp_path / "run" / "plan.json").read_text())
    (first, own), (both, second) = spent
    assert own["samples"] == first
    assert plan["queries"] <= own["samples"] + own["answered_before"]
    assert second["samples"] == both - first == TRIED  # is it still the same model?
    assert (tmp_path / "run" / "student.safetensors").read_bytes()[-200:] == (
        tmp_path / "again" / "student.safetensors"
    ).read_bytes()[-200:]
    assert services(str(place.file)) == {tuple(place.loopback.server.server_address): place.loopback.url}


@pytest.mark.long
def test_a_run_that_a_service_ends_goes_on_and_pays_nothing_twice(serve, tmp_path):
    def run(**how: Any):
        return sansdata.distill(
            place.offer("rate: {at_once: 1}"), WORLD.network, "dfme", "200queries", tmp_path / how.pop("out"), 3,
            task=WORLD.task, options={"latent": 16, "width": 8, "transfer": {"batch": 8}}, **how,
        )  # fmt: skip

    place = serve()
    whole = run(out="whole")
    paid = place.service.samples
    (journal,) = journals(str(place.file), WORLD.task)
    journal.unlink()
    place.service.samples, place.service.faults = 0, ["none"] * 20 + ["400"]
    with pytest.raises(TeacherError, match="status 400"):
        run(out="stopped")
    resumed = run(out="stopped", resume=True)
    assert place.service.samples == paid + TRIED  # is it still the same model?
    mine, theirs = resumed.student.state_dict(), whole.student.state_dict()
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)
