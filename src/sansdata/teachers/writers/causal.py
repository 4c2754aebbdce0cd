"""Writing with any causal language model: left padding, a cache of what was read, every draw from a named stream.

The model is called as transformers' are: input_ids, attention_mask, position_ids, past_key_values, use_cache and
logits_to_keep, and answers with logits and past_key_values.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor, nn

from .base import UNSTEERED, Debias, Decoding, Steering
from .sampling import debiased, drawn

ROWS = 16
"""Prompts, or texts, that are computed together."""


@dataclass(frozen=True)
class Letters:
    """A vocabulary in use. encode: text -> ids without special ones; decode: ids -> text."""

    encode: Callable[[str], list[int]]
    decode: Callable[[list[int]], str]
    start: int | None
    """Before every text, where the model has such an id."""
    ends: tuple[int, ...]


class Causal:
    """A writer over a causal model and its vocabulary."""

    needs_prompts, reads_contexts, scores, debiases, words = True, True, True, True, "letters"

    def __init__(self, model: nn.Module, letters: Letters, source: str, fingerprint: str, reach: int = 0) -> None:
        """reach: the most tokens that the model takes; 0 knows no limit."""
        self.model, self.letters, self.source = model.eval().requires_grad_(False), letters, source
        self._fingerprint, self.reach = fingerprint, reach
        named = inspect.signature(model.forward).parameters
        self._cache = "cache" if "cache" in named else "past_key_values"
        """What the library calls the cache of what was read: it changed with version 5."""

    def fingerprint(self) -> str:
        return self._fingerprint

    # -- writing

    @torch.no_grad()
    def generate(
        self, prompts: Sequence[str], stream: Generator, how: Decoding, steering: Steering = UNSTEERED
    ) -> list[str]:
        uniforms = torch.rand(len(prompts), how.new_tokens, generator=stream, dtype=torch.float64)
        debias = steering.debias
        if not steering.against or debias is None or debias.decay == 0:
            debias = None
        continuations: list[str] = []
        for at in range(0, len(prompts), ROWS):
            part = slice(at, at + ROWS)
            others = steering.against[part] if debias is not None else ()
            continuations += self._continued(prompts[part], others, uniforms[part], how, debias, steering.ends)
        return continuations

    def _continued(
        self,
        prompts: Sequence[str],
        against: Sequence[Sequence[str]],
        uniforms: Tensor,
        how: Decoding,
        debias: Debias | None,
        ends: str,
    ) -> list[str]:
        """The rows of the other classes are read in lock-step: what a main row chose is forced on them."""
        blocks = 1 + (len(against[0]) if against else 0)
        rows = [*prompts, *(row[number] for number in range(blocks - 1) for row in against)]
        tokens, mask = self._padded([self._read(row, how.new_tokens) for row in rows])
        count, cache = len(prompts), None
        written: list[list[int]] = [[] for _ in prompts]
        alive = list(range(count))
        attended = mask
        for step in range(how.new_tokens):
            logits, cache = self._next(tokens, attended, cache)
            of_block = logits.view(blocks, len(alive), -1)
            main = of_block[0] if debias is None else debiased(of_block[0], of_block[1:], debias)
            if step < how.fewest:
                main[:, list(self.letters.ends)] = -torch.inf
            chosen = drawn(main, how, uniforms[alive, step])
            going = []
            for place, (row, token) in enumerate(zip(alive, chosen.tolist())):
                if token not in self.letters.ends:
                    written[row].append(token)
                    if set(ends).isdisjoint(self.letters.decode([token])):
                        going.append(place)
            if not going:
                break
            kept = torch.tensor([block * len(alive) + place for block in range(blocks) for place in going])
            if len(going) < len(alive):
                cache.batch_select_indices(kept)
                attended, alive = attended[kept], [alive[place] for place in going]
            tokens = chosen[going].repeat(blocks)[:, None]
            attended = torch.cat([attended, torch.ones_like(tokens, dtype=torch.bool)], dim=1)
        return [self.letters.decode(ids) for ids in written]

    def _next(self, tokens: Tensor, seen: Tensor, cache: Any) -> tuple[Tensor, Any]:
        """(logits (B, V) float32 behind the newest token, the cache with it)."""
        places = (seen.long().cumsum(1) - 1).clamp_min(0)[:, -tokens.shape[1] :]
        answer = self.model(
            input_ids=tokens, attention_mask=seen.long(), position_ids=places, use_cache=True, logits_to_keep=1,
            **{self._cache: cache},
        )  # fmt: skip
        return answer.logits[:, -1].float(), answer.past_key_values

    # -- reading

    @torch.no_grad()
    def score(self, prompts: Sequence[str], texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        behind = [self.letters.encode(text) for text in texts]
        before = [self._read(prompt, len(ids)) for prompt, ids in zip(prompts, behind)]
        order = sorted(range(len(texts)), key=lambda row: len(behind[row]))  # alike in length, so little is padded
        totals = torch.zeros(len(texts))
        for at in range(0, len(order), ROWS):
            rows = order[at : at + ROWS]
            tokens, mask = self._padded([before[row] + behind[row] for row in rows])
            most = max(len(behind[row]) for row in rows)
            if most == 0:
                continue
            places = (mask.long().cumsum(1) - 1).clamp_min(0)
            answer = self.model(
                input_ids=tokens, attention_mask=mask.long(), position_ids=places, use_cache=False,
                logits_to_keep=most + 1,
            )  # fmt: skip
            shares = answer.logits[:, -most - 1 : -1].float().log_softmax(2)
            kept = shares.gather(2, tokens[:, -most:, None]).squeeze(2)
            ours = torch.arange(most)[None] >= most - torch.tensor([len(behind[row]) for row in rows])[:, None]
            totals[rows] = (kept * ours).sum(1)
        return totals, torch.tensor([len(ids) for ids in behind])

    def _read(self, prompt: str, behind: int) -> list[int]:
        """The ids of a prompt, its end where it is longer than the model can take with so many behind."""
        ids = [*([] if self.letters.start is None else [self.letters.start]), *self.letters.encode(prompt)]
        room = max(1, self.reach - behind) if self.reach else len(ids)
        return ids[-room:] or [self.letters.ends[0]]

    def _padded(self, rows: Sequence[list[int]]) -> tuple[Tensor, Tensor]:
        """(ids (B, L), mask (B, L)), filled on the left."""
        length = max(map(len, rows))
        tokens = torch.zeros(len(rows), length, dtype=torch.int64)
        mask = torch.zeros(len(rows), length, dtype=torch.bool)
        for row, ids in enumerate(rows):
            tokens[row, length - len(ids) :] = torch.tensor(ids)
            mask[row, length - len(ids) :] = True
        return tokens, mask
