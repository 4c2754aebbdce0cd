"""A language model behind an OpenAI-compatible address: openai:MODEL@URL, with limits behind a '#'.

openai:MODEL@https://HOST/v1                   the address of chats below it
openai:MODEL@https://HOST/v1/completions       plain continuation: a model that goes on with the prompt
openai:MODEL@URL#requests=5000,tokens=2000000  the most that the journal of this model and address may ever hold

Every answer is in a journal before it is used, so that a run that was killed asks nothing twice, and the same run again
asks nothing at all. The key is read from the environment and is written nowhere.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import json
import os
import random
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import torch
from torch import Generator, Tensor

from ...errors import BudgetSpent, TeacherError, first_line
from .base import Debias, Decoding
from .journal import Journal, key_of

PREFIX = "openai:"
KEYS = ("SANSDATA_API_KEY", "OPENAI_API_KEY")
"""Where the key is looked for, in the environment."""
TEXT, CHAT = "/completions", "/chat/completions"
REQUESTS, TOKENS = 20_000, 5_000_000
"""Limits where the spec names none."""
MAX_ANSWER_BYTES, MAX_LETTERS = 4_000_000, 100_000
PATIENCE, ATTEMPTS, LONGEST_WAIT = 120.0, 6, 60.0
"""Seconds for one answer; tries; seconds between two of them at most."""
AT_ONCE = 8
BUSY = (408, 409, 425, 429, 500, 502, 503, 504, 529)
"""Answers after which the same question is asked again."""


@dataclass(frozen=True)
class Address:
    """What a spec says."""

    model: str
    secure: bool
    host: str
    port: int
    path: str
    requests: int = REQUESTS
    tokens: int = TOKENS

    @property
    def chat(self) -> bool:
        return self.path.endswith(CHAT)

    @property
    def url(self) -> str:
        return f"{'https' if self.secure else 'http'}://{self.host}:{self.port}{self.path}"

    @property
    def journal(self) -> Path:
        home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
        return home / "sansdata" / "journals" / f"{key_of([self.model, self.url])[:24]}.jsonl"


def is_endpoint(spec: str) -> bool:
    return spec.startswith(PREFIX)


def address_of(spec: str) -> Address:
    """Raises TeacherError for a spec that names no model and no address that may be asked."""
    wanted = "expected openai:MODEL@URL, for instance openai:my-model@https://host/v1"
    model, at, rest = spec.removeprefix(PREFIX).partition("@")
    url, _, limits = rest.partition("#")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise TeacherError(f"'{PREFIX}{model[:60]}@...' has no readable address; {wanted}") from None
    if not (at and model and host and parts.scheme in ("http", "https")):
        raise TeacherError(f"'{spec[:60]}' is no address of a model; {wanted}")
    if parts.username or parts.password or parts.query:
        raise TeacherError(f"the address of '{model[:60]}' holds a secret or a query; a key goes into {KEYS[0]}")
    secure = parts.scheme == "https"
    if not secure and not _on_this_machine(host):
        raise TeacherError(f"http://{host} would send key and texts in the clear; use https")
    path = parts.path.rstrip("/")
    if not path.endswith(TEXT):
        path += CHAT
    return Address(model, secure, host, port or (443 if secure else 80), path, **_limits(limits))


def _on_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _limits(text: str) -> dict[str, int]:
    answers: dict[str, int] = {}
    for part in filter(None, text.split(",")):
        name, _, value = part.partition("=")
        try:
            answers[name] = int(float(value))
        except (ValueError, OverflowError):
            answers[name] = 0
        if name not in ("requests", "tokens") or answers[name] < 1:
            raise TeacherError(f"'#{text[:60]}': expected limits such as #requests=5000,tokens=2000000")
    return answers


class Endpoint:
    """A writer that is asked over the network. It shows no probabilities."""

    needs_prompts, scores, debiases, words = True, False, False, "letters"

    def __init__(self, address: Address) -> None:
        self.address, self.source = address, f"{PREFIX}{address.model}@{address.url}"
        self.journal = Journal(address.journal)
        self._here = threading.local()
        self._lock, self._under_way = threading.Lock(), 0

    def fingerprint(self) -> str:
        """Of its name: nobody can see whether what answers there is still the same."""
        return key_of([self.address.model, self.address.url])

    def generate(
        self,
        prompts: Sequence[str],
        stream: Generator,
        how: Decoding,
        against: Sequence[Sequence[str]] = (),
        debias: Debias | None = None,
    ) -> list[str]:
        """top_k is sent where it is set, and not every service knows it; `fewest` is not. Raises TeacherError where the
        service refuses or does not answer, BudgetSpent at the limits of the spec."""
        seeds = torch.randint(2**31, (len(prompts),), generator=stream).tolist()
        questions = [self._question(prompt, seed, how) for prompt, seed in zip(prompts, seeds)]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(self._answer, questions))

    def score(self, prompts: Sequence[str], texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        raise TeacherError(f"{self.source}: shows no probabilities")

    # -- one question

    def _question(self, prompt: str, seed: int, how: Decoding) -> dict[str, Any]:
        greedy = how.top_k == 1  # the same question then has the same answer, whoever asks it
        question = {"messages": [{"role": "user", "content": prompt}]} if self.address.chat else {"prompt": prompt}
        fields: dict[str, Any] = {
            "model": self.address.model, **question, "max_tokens": how.new_tokens, "top_p": how.top_p, "n": 1,
            "stream": False, "temperature": 0 if greedy else how.temperature, "seed": 0 if greedy else seed,
        }  # fmt: skip
        return fields | ({"top_k": how.top_k} if how.top_k > 1 else {})

    def _answer(self, question: dict[str, Any]) -> str:
        key = key_of(question)
        if key not in self.journal.answers:
            with self._within_limits():
                text, tokens = self._read(self._ask(json.dumps(question).encode()))
                self.journal.add(key, text, tokens)
        text = self.journal.answers[key]
        return text.lstrip().removeprefix('"') if self.address.chat else text

    @contextlib.contextmanager
    def _within_limits(self) -> Iterator[None]:
        """Around one question. Requests are exact; of tokens the questions that are under way may go beyond."""
        with self._lock:
            self._require_budget()
            self._under_way += 1
        try:
            yield
        finally:
            with self._lock:
                self._under_way -= 1

    def _require_budget(self) -> None:
        journal, address = self.journal, self.address
        asked = journal.requests + self._under_way
        for name, spent, most in (("requests", asked, address.requests), ("tokens", journal.tokens, address.tokens)):
            if spent >= most:
                raise BudgetSpent(
                    f"{self.source}: the limit of {most:,} {name} is reached. What came is kept in {journal.path}; "
                    f"raise it with #{name}=... behind the address, and go on with --resume --force"
                )

    def _ask(self, body: bytes) -> bytes:
        """The body of the first answer that is one; tried again while the service is busy or away."""
        reason = ""
        for attempt in range(ATTEMPTS):
            wait = 2.0**attempt * random.SystemRandom().uniform(0.5, 1)  # so that many do not come back at once
            try:
                status, data, asked_wait = self._exchange(body)
            except (OSError, http.client.HTTPException) as fault:
                self._forget()
                if isinstance(fault, ssl.SSLCertVerificationError):
                    raise TeacherError(
                        f"{self.source}: its certificate is not to be trusted ({first_line(fault)})"
                    ) from None
                reason = first_line(fault)
            else:
                if status == 200:
                    return data
                reason = f"status {status}: {self._without_key(data[:300].decode(errors='replace'))}"
                if status not in BUSY:
                    break
                wait = max(wait, asked_wait)
            if attempt + 1 < ATTEMPTS:
                time.sleep(min(wait, LONGEST_WAIT))
        raise TeacherError(
            f"{self.source}: gives no answer ({reason}). What came before is kept in {self.journal.path}"
        )

    def _exchange(self, body: bytes) -> tuple[int, bytes, float]:
        """(status, body, seconds that the service asks to wait)."""
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if key := _key():
            headers["Authorization"] = f"Bearer {key}"
        connection = self._connection()
        connection.request("POST", self.address.path, body, headers)
        answer = connection.getresponse()
        data = answer.read(MAX_ANSWER_BYTES + 1)
        if len(data) > MAX_ANSWER_BYTES:
            self._forget()
            raise TeacherError(f"{self.source}: an answer of more than {MAX_ANSWER_BYTES:,} bytes")
        if answer.will_close:
            self._forget()
        return answer.status, data, _seconds(answer.getheader("Retry-After"))

    def _connection(self) -> http.client.HTTPConnection:
        """This thread's own. No proxy is asked and no other address followed: only what was named is connected to."""
        if getattr(self._here, "connection", None) is None:
            address = self.address
            if address.secure:
                context = ssl.create_default_context()
                self._here.connection = http.client.HTTPSConnection(
                    address.host, address.port, timeout=PATIENCE, context=context
                )
            else:
                self._here.connection = http.client.HTTPConnection(address.host, address.port, timeout=PATIENCE)
        return self._here.connection

    def _forget(self) -> None:
        if getattr(self._here, "connection", None) is not None:
            self._here.connection.close()
            self._here.connection = None

    def _read(self, data: bytes) -> tuple[str, int]:
        """(text, tokens that it took). Raises TeacherError where the answer has another form."""
        try:
            fields: Any = json.loads(data)
            choice = fields["choices"][0]
            text = choice["message"]["content"] if self.address.chat else choice["text"]
        except (ValueError, KeyError, IndexError, TypeError, RecursionError):
            raise TeacherError(f"{self.source}: answered with something else than choices with a text") from None
        if text is not None and not isinstance(text, str):
            raise TeacherError(f"{self.source}: answered with a text that is none ({type(text).__name__})")
        usage = fields.get("usage")
        tokens = usage.get("total_tokens") if isinstance(usage, dict) else None
        if isinstance(tokens, bool) or not isinstance(tokens, int) or not 0 <= tokens < 10**9:
            tokens = len(data) // 4
        return (text or "")[:MAX_LETTERS], tokens

    def _without_key(self, text: str) -> str:
        key = _key()
        return " ".join((text.replace(key, "[key]") if key else text).split())


def _key() -> str:
    return next((os.environ[name] for name in KEYS if os.environ.get(name)), "")


def _seconds(text: str | None) -> float:
    """Of the header Retry-After; dates and nonsense are 0."""
    try:
        return min(max(float(text or 0), 0.0), LONGEST_WAIT)
    except ValueError:
        return 0.0
