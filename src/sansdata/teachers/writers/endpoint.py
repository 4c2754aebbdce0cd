"""A language model behind an OpenAI-compatible address: openai:MODEL@URL, with limits behind a '#'.

openai:MODEL@https://HOST/v1                   the address of chats below it
openai:MODEL@https://HOST/v1/completions       plain continuation: a model that goes on with the prompt
openai:MODEL@URL#requests=5000,tokens=2000000  the most that the journal of this model and address may ever hold

Every answer is in a journal before it is used, and every request before it is sent: a run that was killed asks again at
most what was under way, which counts, and the same run again asks nothing. The key is read from the environment and is
written nowhere.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor

from ...errors import BudgetSpent, TeacherError
from ..service.http import Address, Client, NotSent, address_of_url
from ..service.journal import Journal, journal_path, key_of
from ..service.several import each_once
from .base import UNSTEERED, Decoding, Steering

PREFIX = "openai:"
KEYS = ("SANSDATA_API_KEY", "OPENAI_API_KEY")
"""Where the key is looked for, in the environment."""
TEXT, CHAT = "/completions", "/chat/completions"
REQUESTS, TOKENS = 20_000, 5_000_000
"""Limits where the spec names none."""
MAX_LETTERS = 100_000
AT_ONCE = 8
LETTERS_A_TOKEN = 4
"""About so many, where a service does not count."""


@dataclass(frozen=True)
class Model:
    """What a spec says."""

    name: str
    address: Address
    requests: int = REQUESTS
    tokens: int = TOKENS

    @property
    def chat(self) -> bool:
        return self.address.path.rstrip("/").endswith(CHAT)

    @property
    def journal(self) -> Path:
        return journal_path([self.name, self.address.url])


def is_endpoint(spec: str) -> bool:
    return spec.startswith(PREFIX)


def model_of(spec: str) -> Model:
    """Raises TeacherError for a spec that names no model and no address that may be asked."""
    name, at, rest = spec.removeprefix(PREFIX).partition("@")
    url, _, limits = rest.partition("#")
    if not (at and name and url):
        raise TeacherError(
            f"'{spec[:60]}' is no address of a model; expected openai:MODEL@URL, for instance "
            "openai:my-model@https://host/v1"
        )
    address = address_of_url(url, f"'{PREFIX}{name[:60]}'", KEYS[0])
    if not address.path.rstrip("/").endswith(TEXT):
        address = replace(address, path=address.path.rstrip("/") + CHAT)
    return Model(name, address, **_limits(limits))


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

    needs_prompts, reads_contexts, scores, debiases, words = True, True, False, False, "letters"

    def __init__(self, model: Model) -> None:
        self.model, self.source = model, f"{PREFIX}{model.name}@{model.address.url}"
        self.client = Client(model.address, self.source, KEYS)
        self.journal = Journal(model.journal)
        self._lock = threading.Lock()

    def fingerprint(self) -> str:
        """Of its name: nobody can see whether what answers there is still the same."""
        return key_of([self.model.name, self.model.address.url])

    def generate(
        self, prompts: Sequence[str], stream: Generator, how: Decoding, steering: Steering = UNSTEERED
    ) -> list[str]:
        """top_k is sent where it is set, and not every service knows it; `fewest` is not, nor `ends`: a service leaves
        out the letter at which it stops, and its answer would not show how it ended. Raises TeacherError where it
        refuses or does not answer, BudgetSpent at the limits of the spec."""
        seeds = torch.randint(2**31, (len(prompts),), generator=stream).tolist()
        questions = [self._question(prompt, seed, how) for prompt, seed in zip(prompts, seeds)]
        keys = [key_of(question) for question in questions]
        unknown = {key: one for key, one in zip(keys, questions) if key not in self.journal.answers}
        each_once(self._ask_once, unknown.items(), AT_ONCE)
        return [self._text(key) for key in keys]

    def score(self, prompts: Sequence[str], texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        raise TeacherError(f"{self.source}: shows no probabilities")

    # -- one question

    def _question(self, prompt: str, seed: int, how: Decoding) -> dict[str, Any]:
        greedy = how.top_k == 1  # the same question then has the same answer, whoever asks it
        question = {"messages": [{"role": "user", "content": prompt}]} if self.model.chat else {"prompt": prompt}
        fields: dict[str, Any] = {
            "model": self.model.name, **question, "max_tokens": how.new_tokens, "top_p": how.top_p, "n": 1,
            "stream": False, "temperature": 0 if greedy else how.temperature, "seed": 0 if greedy else seed,
        }  # fmt: skip
        return fields | ({"top_k": how.top_k} if how.top_k > 1 else {})

    def _ask_once(self, unknown: tuple[str, dict[str, Any]]) -> None:
        """Puts the answer to a question, which comes with its key, into the journal."""
        key, question = unknown
        body = json.dumps(question).encode()
        data = self._ask(body, question["max_tokens"] + len(body) // LETTERS_A_TOKEN)
        try:
            text, tokens = self._read(data)
        except TeacherError:  # it was paid for all the same
            self.journal.add({}, {"requests": 0, "tokens": len(data) // LETTERS_A_TOKEN})
            raise
        self.journal.add({key: text}, {"requests": 0, "tokens": tokens})

    def _text(self, key: str) -> str:
        text = str(self.journal.answers[key])
        return text.lstrip().removeprefix('"') if self.model.chat else text

    def _spend(self, lost: int = 0) -> None:
        """Counts a request before it is sent. lost: the most tokens of the one before, whose answer did not come.
        Requests are exact; of tokens the questions that are under way may go beyond."""
        with self._lock:
            if lost:
                self.journal.add({}, {"requests": 0, "tokens": lost})
            self._require_budget()
            self.journal.add({}, {"requests": 1})

    def _require_budget(self) -> None:
        for name, most in (("requests", self.model.requests), ("tokens", self.model.tokens)):
            if self.journal.spent[name] >= most:
                raise BudgetSpent(
                    f"{self.source}: the limit of {most:,} {name} is reached. What came is kept in "
                    f"{self.journal.path}; raise it with #{name}=... behind the address, and go on with --resume "
                    "--force"
                )

    def _ask(self, body: bytes, most: int) -> bytes:
        """most: the tokens that it can cost."""
        self._spend()
        try:
            return self.client.post(body, lost=lambda: self._spend(most))
        except TeacherError as fault:
            if isinstance(fault, NotSent):
                self.journal.add({}, {"requests": -1})
            raise TeacherError(f"{fault}. What came before is kept in {self.journal.path}") from None

    def _read(self, data: bytes) -> tuple[str, int]:
        """(text, tokens that it took). Raises TeacherError where the answer has another form."""
        try:
            fields: Any = json.loads(data)
            choice = fields["choices"][0]
            text = choice["message"]["content"] if self.model.chat else choice["text"]
        except (ValueError, KeyError, IndexError, TypeError, RecursionError):
            raise TeacherError(f"{self.source}: answered with something else than choices with a text") from None
        if text is not None and not isinstance(text, str):
            raise TeacherError(f"{self.source}: answered with a text that is none ({type(text).__name__})")
        usage = fields.get("usage")
        tokens = usage.get("total_tokens") if isinstance(usage, dict) else None
        if isinstance(tokens, bool) or not isinstance(tokens, int) or not 0 <= tokens < 10**9:
            tokens = len(data) // LETTERS_A_TOKEN
        return (text or "")[:MAX_LETTERS], tokens
