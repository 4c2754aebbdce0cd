"""How doubtful a pseudo-label is, without anybody's label: (N,) numbers, higher is worse.

The paper's six by their names in its tables, then what its users want besides. Where the paper asks a large model, a
light one stands in, which is said beside it.
"""

from __future__ import annotations

import math
import zlib
from collections import Counter
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ...objectives.edits import normalised, word_error_rate
from ...synthesis.voices import Utterance, speak
from .heard import CHUNK, Heard, cepstra

ORDER = 3
RIDGE = 1.0
GRAMS = 2


def proxy(heard: Heard) -> Tensor:
    """proxy-ref: the word error rate against another recogniser's transcript (paper: SeamlessM4T), or, where there is
    none, against the text that was to be said, which synthesis gives for nothing."""
    others = heard.spoken if heard.second is None else heard.second
    return torch.tensor([word_error_rate(other, said) for other, said in zip(others, heard.said)])


def confidence(heard: Heard) -> Tensor:
    """conf: less the geometric mean of the probabilities of the tokens."""
    return -(-heard.surprise).exp()


def doubt(heard: Heard) -> Tensor:
    """entropy: of the teacher's next token, mean over the steps."""
    return heard.doubt


def likelihood(heard: Heard) -> Tensor:
    """nnll: -log-likelihood of the transcript by letter, under a language model (paper: a large one). Stand-in: letter
    trigrams of the texts that were to be said."""
    counts: Counter[str] = Counter()
    prefixes: Counter[str] = Counter()
    for text in heard.spoken:
        for gram in _grams(normalised(text), ORDER):
            counts[gram] += 1
            prefixes[gram[:-1]] += 1
    letters = len({letter for gram in counts for letter in gram}) + 1

    def of(text: str) -> float:
        grams = _grams(normalised(text), ORDER)
        return -sum(math.log((counts[g] + 0.1) / (prefixes[g[:-1]] + 0.1 * letters)) for g in grams) / len(grams)

    return torch.tensor([of(text) for text in heard.said])


def similarity(heard: Heard) -> Tensor:
    """sonar-sim: less the cosine of sound and transcript in a joint space (paper: SONAR). Stand-in: letter pairs that a
    ridge regression reads from a sound's spectral shape, fitted on these sounds and their texts."""
    grams = sorted({gram for text in (*heard.spoken, *heard.said) for gram in _grams(normalised(text), GRAMS)})
    place = {gram: number for number, gram in enumerate(grams)}

    def bags(texts: Sequence[str]) -> Tensor:
        rows = torch.zeros(len(texts), len(grams), dtype=torch.float64)
        for row, text in zip(rows, texts):
            for gram in _grams(normalised(text), GRAMS):
                row[place[gram]] += 1
        return F.normalize(rows, dim=1)

    shapes = F.pad(heard.shapes.double(), (1, 0), value=1.0)
    known = torch.tensor([bool(text) for text in heard.spoken])
    sounds, texts = shapes[known], bags(heard.spoken)[known]
    inner = sounds.T @ sounds + RIDGE * torch.eye(shapes.shape[1], dtype=torch.float64)
    read = shapes @ torch.linalg.solve(inner, sounds.T @ texts)
    return -F.cosine_similarity(read, bags(heard.said), dim=1).float()


def synthesis(heard: Heard) -> Tensor:
    """pesq: how unlike the sound is to its transcript spoken anew (paper: XTTS-v2 and PESQ). Stand-in: the cost per
    frame of warping one's cepstra onto the other's, spoken by espeak-ng, or by formants where that is not there."""
    from ...synthesis.voices import programs

    speaker, voice = ("espeak-ng", "en-us+m1") if programs(("espeak-ng",)) else ("formants", "middle")
    again: dict[str, Tensor] = {}
    longest = heard.waveform.shape[1]
    for text in set(heard.said):
        sound = torch.zeros(longest, dtype=torch.int16)
        if normalised(text):
            samples = speak(Utterance(text, speaker, voice), heard.rate)[:longest]  # type: ignore[arg-type]
            sound[: len(samples)] = torch.from_numpy(samples.copy())
        again[text] = sound
    costs = []
    for start in range(0, len(heard), CHUNK):
        part = slice(start, start + CHUNK)
        own, many = cepstra(heard.waveform[part], heard.length[part], heard.rate)
        spoken = torch.stack([again[text] for text in heard.said[part]])
        ends = (spoken != 0).long() * torch.arange(1, longest + 1)
        other, theirs = cepstra(spoken, ends.amax(1).clamp_min(1), heard.rate)
        costs.append(warped(torch.cdist(own, other), many, theirs))
    return torch.cat(costs)


def warped(costs: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """(N,) the least mean cost of a way through costs (N, A, B) from corner to corner, by steps of one row, one column
    or both, within the first rows (N,) and columns (N,)."""
    count, high, wide = costs.shape
    total = torch.full((count, high + 1, wide + 1), math.inf, dtype=costs.dtype)
    total[:, 0, 0] = 0
    for diagonal in range(2, high + wide + 1):
        a = torch.arange(max(1, diagonal - wide), min(high, diagonal - 1) + 1)
        b = diagonal - a
        before = torch.stack([total[:, a - 1, b], total[:, a, b - 1], total[:, a - 1, b - 1]]).amin(0)
        total[:, a, b] = costs[:, a - 1, b - 1] + before
    return total[torch.arange(count), rows, columns] / (rows + columns)


def compression(heard: Heard) -> Tensor:
    """How well the transcript packs: a text that repeats itself packs well (Whisper gives up above 2.4)."""
    texts = [text.encode() for text in heard.said]
    return torch.tensor([len(text) / len(zlib.compress(text)) for text in texts])


def repetition(heard: Heard) -> Tensor:
    """Share of the transcript's pairs of words that came before in it."""

    def of(text: str) -> float:
        pairs = list(zip(words := normalised(text).split(), words[1:]))
        return 1 - len(set(pairs)) / len(pairs) if pairs else 0.0

    return torch.tensor([of(text) for text in heard.said])


def rate(heard: Heard) -> Tensor:
    """How far the letters a second are from what is usual here, as a ratio on a log scale."""
    letters = torch.tensor([len(normalised(text)) for text in heard.said], dtype=torch.float32)
    pace = ((letters + 1) / heard.seconds).log()
    return (pace - pace.median()).abs()


def shouting(heard: Heard) -> Tensor:
    """1 for a transcript in capitals alone, which Distil-Whisper's code drops."""
    return torch.tensor([float(text.isupper() and len(text) > 1) for text in heard.said])


def _grams(text: str, size: int) -> list[str]:
    padded = " " * (size - 1) + text + " "
    return [padded[place : place + size] for place in range(len(padded) - size + 1)]


SCORES: dict[str, Callable[[Heard], Tensor]] = {
    "proxy": proxy, "confidence": confidence, "entropy": doubt, "likelihood": likelihood, "similarity": similarity,
    "synthesis": synthesis, "compression": compression, "repetition": repetition, "rate": rate, "shouting": shouting,
}  # fmt: skip
"""Name -> what it says of each pseudo-label."""
