"""One language out of many: the words of a network that a language needs, and no others (Abdaoui et al. 2020, arXiv
2010.05609). Most of a small multilingual network are words that nobody of one language will write.

Texts whose pieces are kept are read into the same pieces and answered alike: of the greedy longest match (WordPiece),
of merges (BPE, with every piece on the way to a kept one), and of the likeliest cut (Unigram, with its unlikeliest
piece: by it the library says how unlikely an unknown letter is).
"""

from __future__ import annotations

import copy
import re
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import nn

from ..errors import StudentError, TaskError

BYTE = re.compile("<0x[0-9A-F]{2}>")
"""A piece that is one byte of a letter which has no piece of its own."""
SPECIAL_FIELDS = ("sep", "cls")
"""Fields of a post-processor that are [token, id]."""


def pieces_of(tree: Mapping[str, Any]) -> dict[str, int]:
    """Piece -> id of a tokenizer.json, added ones too. Raises TaskError for a model that is not known."""
    model = tree.get("model", {})
    words = model.get("vocab")
    if isinstance(words, list):  # unigram: [piece, log-probability]
        pieces = {str(word[0]): place for place, word in enumerate(words)}
    elif isinstance(words, dict):
        pieces = {str(word): int(place) for word, place in words.items()}
    else:
        raise TaskError("the tokenizer has no model.vocab that could be cut")
    added = tree.get("added_tokens") or []
    return pieces | {str(one["content"]): int(one["id"]) for one in added}


def with_needed(tree: Mapping[str, Any], used: Collection[int], padding: int) -> list[int]:
    """Ids to keep, in order, where texts of the language use these: also padding, special and added tokens, the unknown
    one, bytes that stand for unknown letters, and what the cut of a kept piece goes by. Where nothing stands for the
    unknown, the library leaves such letters out without a word, so that every single letter is kept."""
    pieces, model = pieces_of(tree), tree["model"]
    kept = {int(place) for place in used} | {padding}
    kept |= {int(one["id"]) for one in tree.get("added_tokens") or []}
    unknown = model.get("unk_id") if isinstance(model.get("vocab"), list) else pieces.get(str(model.get("unk_token")))
    kept |= {unknown} if isinstance(unknown, int) else set()
    if model.get("byte_fallback"):
        kept |= {place for piece, place in pieces.items() if BYTE.fullmatch(piece)}
    elif unknown is None:
        kept |= {place for piece, place in pieces.items() if len(piece) == 1}
    if isinstance(words := model["vocab"], list):
        kept.add(min(range(len(words)), key=lambda place: words[place][1]))
    for left, right in reversed(_merges(model)):  # a later merge is made of earlier ones
        if pieces.get(left + right) in kept:
            kept |= {pieces[left], pieces[right]}
    known = set(pieces.values())
    return sorted(place for place in kept if place in known or place == padding)


def _merges(model: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Of BPE, in their order; older files have both parts in one text."""
    merges = model.get("merges") or []
    return [tuple(one.split(" ", 1)) if isinstance(one, str) else tuple(one) for one in merges]  # type: ignore[misc]


def cut_tokenizer(tree: Mapping[str, Any], kept: list[int]) -> dict[str, Any]:
    """The tokenizer.json with only the ids `kept`, numbered anew in this order."""
    new, smaller = {old: place for place, old in enumerate(kept)}, copy.deepcopy(dict(tree))
    model, words = smaller["model"], smaller["model"]["vocab"]
    if isinstance(words, list):
        model["vocab"] = [words[old] for old in kept if old < len(words)]
        if isinstance(model.get("unk_id"), int):
            model["unk_id"] = new[model["unk_id"]]
    else:
        model["vocab"] = {word: new[place] for word, place in words.items() if place in new}
        if model.get("merges"):
            there = model["vocab"]
            model["merges"] = [
                merge for merge, (left, right) in zip(model["merges"], _merges(model))
                if left in there and right in there and left + right in there
            ]  # fmt: skip
    for added in smaller.get("added_tokens") or []:
        added["id"] = new[added["id"]]
    _renumber(smaller.get("post_processor"), new)
    if isinstance(padding := smaller.get("padding"), dict) and padding.get("pad_id") in new:
        padding["pad_id"] = new[padding["pad_id"]]
    return smaller


def _renumber(part: Any, new: Mapping[int, int]) -> None:
    """Ids of special tokens inside a post-processor, in place."""
    if isinstance(part, list):
        for one in part:
            _renumber(one, new)
    if not isinstance(part, dict):
        return
    for field in SPECIAL_FIELDS:
        value = part.get(field)
        if isinstance(value, list) and len(value) == 2 and value[1] in new:
            value[1] = new[value[1]]
    for special in (part.get("special_tokens") or {}).values() if isinstance(part.get("special_tokens"), dict) else ():
        special["ids"] = [new[place] for place in special["ids"]]
    _renumber(part.get("processors"), new)


def cut_words(module: nn.Module, layer: nn.Embedding, kept: list[int]) -> nn.Module:
    """A copy of `module` whose layer of words, and whatever scores words, have only the rows `kept`."""
    path = next(name for name, part in module.named_modules() if part is layer)
    smaller, rows = copy.deepcopy(module), torch.tensor(kept)
    words: Any = smaller.get_submodule(path)
    cut: dict[int, nn.Parameter] = {}
    part: Any
    for part in smaller.modules():
        if part is words:
            part.padding_idx = kept.index(part.padding_idx) if part.padding_idx in kept else None
        elif not (isinstance(part, nn.Linear) and part.out_features == layer.num_embeddings):
            continue
        for name, parameter in list(part.named_parameters(recurse=False)):
            if id(parameter) not in cut:  # tied to another layer's, it is cut once
                cut[id(parameter)] = nn.Parameter(parameter.detach()[rows].clone(), parameter.requires_grad)
            setattr(part, name, cut[id(parameter)])
        setattr(part, "num_embeddings" if part is words else "out_features", len(kept))
    return smaller


def drop_layers(module: nn.Module, keep: int) -> nn.Module:
    """A copy of `module` with `keep` of its blocks, evenly spread from the first to the last.

    Its blocks are the longest list of parts that are alike. Raises StudentError where there are no more than `keep`.
    """
    smaller = copy.deepcopy(module)
    path, blocks = max(_stacks(smaller).items(), key=lambda one: len(one[1]), default=("", nn.ModuleList()))
    if not 0 < keep < len(blocks):
        raise StudentError(f"layers={keep}: the network has {len(blocks)} layers that are alike; give fewer")
    places = torch.linspace(0, len(blocks) - 1, keep).round().long().tolist()
    parent, _, name = path.rpartition(".")
    setattr(smaller.get_submodule(parent), name, nn.ModuleList(blocks[place] for place in places))
    return smaller


def _stacks(module: nn.Module) -> dict[str, nn.ModuleList]:
    """Lists of at least two parts of one class with weights of the same shapes, by path."""

    def shapes(part: nn.Module) -> list[torch.Size]:
        return [parameter.shape for parameter in part.parameters()]

    return {
        path: part
        for path, part in module.named_modules()
        if isinstance(part, nn.ModuleList) and len(part) > 1
        and all(type(one) is type(part[0]) and shapes(one) == shapes(part[0]) for one in part)
    }  # fmt: skip
