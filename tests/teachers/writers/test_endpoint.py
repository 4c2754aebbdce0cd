"""A service that answers, stumbles and lies, on this machine."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch

import sansdata
from sansdata.engine.guard import no_data
from sansdata.engine.guard.no_data import NoDataGuard
from sansdata.errors import BudgetSpent, NoDataViolation, TeacherError
from sansdata.teachers.service import http as service_http
from sansdata.teachers.writers import endpoint
from sansdata.teachers.writers.base import Decoding
from sansdata.teachers.writers.endpoint import Endpoint, model_of
from sansdata.teachers.writers.sources import is_writer, journals, services
from sansdata.teachers.writers.vocabulary import tokenizer_of

Reply = tuple[int, bytes]


class Service:
    """Answers by `reply(question, number)`; remembers what it was asked."""

    def __init__(self, reply: Callable[[dict[str, Any], int], Reply | None]) -> None:
        self.questions: list[dict[str, Any]] = []
        self.keys: list[str] = []
        lock = threading.Lock()
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with lock:
                    service.questions.append(question)
                    service.keys.append(self.headers.get("Authorization", ""))
                    number = len(service.questions)
                answer = reply(question, number)
                if answer is None:
                    self.close_connection = True
                    self.connection.close()
                    return
                self.send_response(answer[0])
                self.send_header("Content-Length", str(len(answer[1])))
                self.send_header("Retry-After", "0")
                self.end_headers()
                self.wfile.write(answer[1])

            def log_message(self, *args: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    @property
    def spec(self) -> str:
        return f"openai:tiny@http://127.0.0.1:{self.server.server_address[1]}/v1"


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[..., Service]]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("SANSDATA_API_KEY", "secret-key")
    monkeypatch.setattr(service_http.time, "sleep", lambda seconds: None)
    running: list[Service] = []

    def start(reply: Callable[[dict[str, Any], int], Reply | None]) -> Service:
        running.append(Service(reply))
        return running[-1]

    yield start
    for service in running:
        service.server.shutdown()
        service.server.server_close()


def said(text: Any, tokens: Any = 7) -> Reply:
    return 200, json.dumps({"choices": [{"message": {"content": text}}], "usage": {"total_tokens": tokens}}).encode()


def ask(spec: str, count: int = 3, seed: int = 0) -> list[str]:
    prompts = [f'A text about {number}: "' for number in range(count)]
    return Endpoint(model_of(spec)).generate(prompts, torch.Generator().manual_seed(seed), Decoding())


def test_each_prompt_is_asked_once_and_never_again(serve: Any) -> None:
    service = serve(lambda question, number: said(f'"{question["messages"][0]["content"][-4:]}'))
    assert is_writer(service.spec)
    first = ask(service.spec)
    assert first == ['0: "', '1: "', '2: "']
    assert len(service.questions) == 3
    assert {question["max_tokens"] for question in service.questions} == {40}
    assert set(service.keys) == {"Bearer secret-key"}
    assert ask(service.spec) == first  # another process, another Endpoint: from the journal
    assert len(service.questions) == 3
    ask(service.spec, seed=1)
    assert len(service.questions) == 6
    (journal,) = journals(service.spec)
    assert "secret-key" not in journal.read_text()


def test_the_same_question_is_asked_once_in_a_call(serve: Any) -> None:
    service = serve(lambda question, number: said(f"answer {number}"))
    writer = Endpoint(model_of(service.spec))
    told = writer.generate(["a?", "b?"] * 4, torch.Generator(), Decoding(top_k=1))
    assert len(service.questions) == 2
    assert (told[::2], told[1::2]) == ([told[0]] * 4, [told[1]] * 4)


def test_after_a_refusal_nothing_more_is_asked(serve: Any) -> None:
    service = serve(lambda question, number: (400, b"no"))
    with pytest.raises(TeacherError, match="status 400"):
        ask(service.spec, count=60)
    assert len(service.questions) <= endpoint.AT_ONCE


def test_a_wrong_key_is_named_and_not_shown(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SANSDATA_API_KEY")
    monkeypatch.setenv("OPENAI_API_KEY", "top\rsecret")
    with pytest.raises(TeacherError, match="OPENAI_API_KEY is no key") as fault:
        ask(serve(lambda question, number: said("well")).spec, count=1)
    assert "secret" not in str(fault.value)


def test_an_address_is_kept_as_it_is_written() -> None:
    plain = model_of("openai:m@https://host/v1/completions/")
    assert (plain.address.path, plain.chat) == ("/v1/completions/", False)
    chat = model_of("openai:m@https://host/v1/chat/completions/")
    assert (chat.address.path, chat.chat) == ("/v1/chat/completions/", True)
    assert model_of("openai:m@https://host/v1/").address.path == "/v1/chat/completions"


def test_what_was_answered_before_a_kill_is_kept(serve: Any) -> None:
    service = serve(lambda question, number: said("yes") if number <= 2 else (400, b"no more"))
    with pytest.raises(TeacherError, match="no more"):
        ask(service.spec, count=3)
    (journal,) = journals(service.spec)
    with journal.open("ab") as file:
        file.write(b'{"key": "cut of')  # as a kill leaves it
    before = len(service.questions)
    whole = Endpoint(model_of(service.spec))
    assert whole.journal.spent["requests"] == 3
    assert journal.read_bytes().endswith(b"\n")
    with pytest.raises(TeacherError):
        ask(service.spec, count=3)
    assert len(service.questions) == before + 1


@pytest.mark.parametrize("fault", [(500, b"{}"), (429, b"slow down"), (503, b""), None], ids=str)
def test_a_service_that_stumbles_is_asked_again(serve: Any, fault: Reply | None) -> None:
    service = serve(lambda question, number: fault if number in (1, 2) else said("well"))
    assert ask(service.spec, count=1) == ["well"]
    assert len(service.questions) == 3


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        ((401, b"your secret-key is wrong"), r"\[key\] is wrong"), ((302, b""), "status 302"),
        ((200, b"[1, 2"), "choices"),
        ((200, b'{"choices": []}'), "choices"), (said(["a list"]), "list"), ((500, b"down"), "down"),
        ((200, b"[" * 100_000), "choices"),
    ],
)  # fmt: skip
def test_a_wrong_answer_is_one_clear_error(serve: Any, reply: Reply, message: str) -> None:
    service = serve(lambda question, number: reply)
    with pytest.raises(TeacherError, match=message) as fault:
        ask(service.spec, count=1)
    assert "secret-key" not in str(fault.value)


def test_an_answer_without_end_is_not_read(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_http, "MAX_ANSWER_BYTES", 1000)
    service = serve(lambda question, number: said("x" * 5000))
    with pytest.raises(TeacherError, match="more than 1,000 bytes"):
        ask(service.spec, count=1)


@pytest.mark.parametrize(("limit", "asked", "at_once"), [("requests=2", 2, 8), ("tokens=14", 2, 1)])
def test_the_limits_end_it_before_the_next_question(
    serve: Any, monkeypatch: pytest.MonkeyPatch, limit: str, asked: int, at_once: int
) -> None:
    monkeypatch.setattr(endpoint, "AT_ONCE", at_once)
    service = serve(lambda question, number: said("well"))
    with pytest.raises(BudgetSpent, match="limit"):
        ask(f"{service.spec}#{limit}", count=5)
    assert len(service.questions) == asked


def test_what_may_have_been_billed_is_counted(serve: Any) -> None:
    """Answers that did not come, and one that is none, beside one that is; not what never left."""
    service = serve(
        lambda question, number: None if number in (1, 2) else said("well") if number == 3 else (200, b"{" * 40)
    )
    ask(service.spec, count=1)
    spent = Endpoint(model_of(service.spec)).journal.spent
    assert spent["requests"] == 3
    assert spent["tokens"] > 2 * 40 + 7
    before = spent["tokens"]
    with pytest.raises(TeacherError, match="choices"):
        ask(service.spec, count=1, seed=1)
    spent = Endpoint(model_of(service.spec)).journal.spent
    assert (spent["requests"], spent["tokens"]) == (4, before + 10)
    service.server.shutdown()
    service.server.server_close()
    with pytest.raises(TeacherError, match="gives no answer"):
        ask(service.spec, count=1, seed=2)
    assert Endpoint(model_of(service.spec)).journal.spent["requests"] == 4


def test_lost_answers_keep_the_limit(serve: Any) -> None:
    service = serve(lambda question, number: None)
    with pytest.raises(BudgetSpent, match="limit of 2 requests"):
        ask(f"{service.spec}#requests=2", count=1)
    assert len(service.questions) == 2


def test_a_request_is_counted_before_it_is_sent(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    service = serve(lambda question, number: said("well"))
    seen: list[int] = []

    def killed(*_: Any, **__: Any) -> None:
        seen.append(Endpoint(model_of(service.spec)).journal.spent["requests"])
        raise KeyboardInterrupt

    monkeypatch.setattr(service_http.Client, "post", killed)
    with pytest.raises(KeyboardInterrupt):
        ask(service.spec, count=1)
    assert seen == [1]


def test_a_plain_continuation_goes_to_its_own_address(serve: Any) -> None:
    service = serve(lambda question, number: (200, json.dumps({"choices": [{"text": question["prompt"]}]}).encode()))
    assert ask(f"{service.spec}/completions", count=1) == ['A text about 0: "']


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("openai:m", "no address"), ("openai:@https://host/v1", "no address"), ("openai:m@ftp://host", "no address"),
        ("openai:m@http://example.org/v1", "in the clear"), ("openai:m@https://me:pw@host/v1", "secret"),
        ("openai:m@https://host/v1#euros=5", "limits"), ("openai:m@https://host/v1#tokens=-1", "limits"),
        ("openai:m@https://[half/v1", "readable"), ("openai:m@https://host:port/v1", "readable"),
    ],
)  # fmt: skip
def test_a_wrong_address_says_what_is_expected(spec: str, message: str) -> None:
    with pytest.raises(TeacherError, match=message):
        model_of(spec)


def test_a_strict_run_connects_to_declared_services_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    known = {("models.example", 443): {"192.0.2.7"}}
    monkeypatch.setattr(no_data, "_addresses", lambda host, port: known.get((host, port), set()))
    guard = NoDataGuard("strict", {}, tmp_path)
    guard.declare_services(services("openai:m@https://models.example/v1"))
    guard.connects(("192.0.2.7", 443), "socket.connect")
    assert [entry["name"] for entry in guard.unwatched] == ["https://models.example:443/v1/chat/completions"]
    for other in (("192.0.2.8", 443), ("192.0.2.7", 80)):
        with pytest.raises(NoDataViolation, match="network"):
            guard.connects(other, "socket.connect")


def test_a_strict_run_of_a_service_asks_once_and_declares_its_journal(serve: Any, tmp_path: Path) -> None:
    service = serve(answer_as_a_model)
    (tmp_path / "words.json").write_bytes(tokenizer_of(["it was a good bad film x y z"], 50))
    (tmp_path / "task.yaml").write_text(
        "kind: text-classification\nclass_names: [bad, good]\nclasses: 2\nlength: 16\ntokenizer: words.json\n"
        "prompts: {text: 'A {label} review: \"'}\n"
    )
    asked = []
    for name in ("run", "again"):
        result = sansdata.distill(
            service.spec, "bag", "zerogen", "4steps", tmp_path / name, task=str(tmp_path / "task.yaml"), strict=True,
            options={"texts": 24, "chunk": 12, "min_words": 3}, settings={"threads": 1, "engine": {"snapshots": 1}},
        )  # fmt: skip
        ledger = json.loads((tmp_path / name / "ledger.json").read_text())
        assert ledger["violations"] == []
        assert result.summary["samples"]["written"] == 24
        asked.append(len(service.questions))
    assert asked[0] == asked[1]
    assert "journal" in {file["role"] for file in ledger["files"]}


def answer_as_a_model(question: dict[str, Any], number: int) -> Reply:
    prompt = question["messages"][0]["content"]
    if prompt.startswith("Text"):
        return said("good" if "good" in prompt.partition("\n")[0] else "bad")
    return said(f'"it was {prompt.split()[1]} {question["seed"]} x{question["seed"]} y{question["seed"]}"')
