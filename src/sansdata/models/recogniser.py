"""Encoder and decoder that read sounds into tokens, as Whisper has them (Radford et al. 2022, arXiv 2212.04356)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NEVER = -1e4
"""Logit of a token that is not said."""
HEAD = 64
"""Width of an attention head; a narrower network has one head."""
Kept = tuple[Tensor, Tensor]
"""Keys and values (B, heads, L, HEAD) of what was read before."""


def heads_of(width: int) -> int:
    return max(1, width // HEAD) if width % HEAD == 0 else 1


class SelfAttention(nn.Module):
    """Among the positions of one sequence, all of them or those before."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.parts, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor, causal: bool = False, kept: Kept | None = None) -> tuple[Tensor, Kept]:
        """(B, L, D); of a sequence whose beginning is in `kept`, the positions behind."""
        query, key, value = (_by_head(part, self.heads) for part in self.parts(x).chunk(3, 2))
        if kept is not None:
            key, value = torch.cat([kept[0], key], 2), torch.cat([kept[1], value], 2)
        attended = attend(query, key, value, causal and x.shape[1] > 1)
        return self.out(_side_by_side(attended)), (key, value)


class CrossAttention(nn.Module):
    """From the positions of one sequence to those of another."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.memory, self.out = (nn.Linear(width, many * width) for many in (1, 2, 1))

    def remember(self, memory: Tensor) -> Kept:
        """Keys and values of (B, L, D), which serve every step."""
        key, value = (_by_head(part, self.heads) for part in self.memory(memory).chunk(2, 2))
        return key, value

    def forward(self, x: Tensor, memory: Kept) -> Tensor:
        attended = attend(_by_head(self.query(x), self.heads), *memory)
        return self.out(_side_by_side(attended))


def attend(query: Tensor, key: Tensor, value: Tensor, causal: bool = False) -> Tensor:
    """(B, heads, L, HEAD). With gradients by plain products, whose slopes have slopes; else by the fast kernel."""
    if not (torch.is_grad_enabled() and value.requires_grad):
        return F.scaled_dot_product_attention(query, key, value, is_causal=causal)
    scores = query @ key.transpose(2, 3) / math.sqrt(query.shape[3])
    if causal:
        later = torch.ones(scores.shape[2:], dtype=torch.bool, device=scores.device).triu(1)
        scores = scores.masked_fill(later, float("-inf"))
    return scores.softmax(3) @ value


def _by_head(x: Tensor, heads: int) -> Tensor:
    return x.unflatten(2, (heads, x.shape[2] // heads)).transpose(1, 2)


def _side_by_side(x: Tensor) -> Tensor:
    return x.transpose(1, 2).flatten(2)


class EncoderBlock(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(width), SelfAttention(width, heads)
        self.norm2, self.wide, self.narrow = (
            nn.LayerNorm(width),
            nn.Linear(width, 4 * width),
            nn.Linear(4 * width, width),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))[0]
        return x + self.narrow(F.gelu(self.wide(self.norm2(x))))


class DecoderBlock(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(width), SelfAttention(width, heads)
        self.norm_cross, self.cross = nn.LayerNorm(width), CrossAttention(width, heads)
        self.norm2, self.wide, self.narrow = (
            nn.LayerNorm(width),
            nn.Linear(width, 4 * width),
            nn.Linear(4 * width, width),
        )

    def forward(self, x: Tensor, memory: Kept, kept: Kept | None = None) -> tuple[Tensor, Kept]:
        attended, after = self.attention(self.norm1(x), kept is None, kept)
        x = x + attended
        x = x + self.cross(self.norm_cross(x), memory)
        return x + self.narrow(F.gelu(self.wide(self.norm2(x)))), after


class Encoder(nn.Module):
    """bands (B, F, T) -> states (B, T / 2, D)."""

    def __init__(self, mels: int, frames: int, width: int, layers: int) -> None:
        """frames: T."""
        super().__init__()
        self.conv1 = nn.Conv1d(mels, width, 3, padding=1)
        self.conv2 = nn.Conv1d(width, width, 3, stride=2, padding=1)
        self.register_buffer("positions", sinusoids((frames + 1) // 2, width), persistent=False)
        self.blocks = nn.ModuleList(EncoderBlock(width, heads_of(width)) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, bands: Tensor) -> Tensor:
        x = F.gelu(self.conv2(F.gelu(self.conv1(bands)))).transpose(1, 2)
        x = x + self.positions[: x.shape[1]]  # type: ignore[index]
        for block in self.blocks:
            x = block(x)
        return self.norm(x)


class Decoder(nn.Module):
    """Tokens (B, L) behind states -> logits (B, L, V), with the same table at both ends."""

    def __init__(self, vocabulary: int, positions: int, width: int, layers: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        nn.init.normal_(self.embedding.weight, std=1 / math.sqrt(width))
        self.positions = nn.Parameter(0.02 * torch.randn(positions, width))
        self.blocks = nn.ModuleList(DecoderBlock(width, heads_of(width)) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def remember(self, states: Tensor) -> list[Kept]:
        return [block.cross.remember(states) for block in self.blocks]  # type: ignore[operator, union-attr]

    def forward(self, tokens: Tensor, memory: list[Kept], kept: list[Kept] | None = None) -> tuple[Tensor, list[Kept]]:
        """kept: of the tokens before these."""
        first = 0 if kept is None else kept[0][0].shape[2]
        x = self.embedding(tokens) + self.positions[first : first + tokens.shape[1]]
        after = []
        for place, block in enumerate(self.blocks):
            x, keep = block(x, memory[place], None if kept is None else kept[place])
            after.append(keep)
        return self.norm(x) @ self.embedding.weight.T, after


class Recogniser(nn.Module):
    """Called with bands (B, F, T) and the first tokens (B, P), it gives logits (B, V, L) of the L tokens that follow.

    Given whole texts, P of L or more, it says what it would have said at each of their last L places; given a prompt
    alone, it goes on by itself, and each token is the likeliest behind those before.
    """

    def __init__(
        self, mels: int, frames: int, vocabulary: int, length: int, positions: int, width: int, layers: int,
        decoder_layers: int,
    ) -> None:  # fmt: skip
        """length: L. positions: of the decoder, prompt and text together. layers: of the encoder."""
        super().__init__()
        self.length = length
        self.barred: tuple[list[int], list[int]] = ([], [])
        self.encoder = Encoder(mels, frames, width, layers)
        self.decoder = Decoder(vocabulary, positions, width, decoder_layers)

    def bar(self, always: list[int], first: list[int]) -> None:
        """Tokens that it does not say of its own accord, at all or as the first."""
        known = range(self.decoder.embedding.num_embeddings)
        self.barred = [one for one in always if one in known], [one for one in first if one in known]

    @property
    def head(self) -> nn.Module:
        return self.decoder.embedding

    def forward(
        self, bands: Tensor | None = None, tokens: Tensor | None = None, states: Tensor | None = None
    ) -> Tensor:
        """states: (B, T / 2, D) of an encoder that has heard the sounds already, in the place of bands."""
        assert tokens is not None
        return self.read(self.encoder(bands) if states is None else states, tokens)

    def read(self, states: Tensor, tokens: Tensor) -> Tensor:
        """The same of encoded sounds (B, T / 2, D): one encoder may serve several decoders."""
        memory = self.decoder.remember(states)
        if tokens.shape[1] >= self.length:
            return self.decoder(tokens, memory)[0][:, -self.length :].transpose(1, 2)
        several, kept = [], None
        for _ in range(self.length):
            logits, kept = self.decoder(tokens, memory, kept)
            barred = self.barred[0] if several else [*self.barred[0], *self.barred[1]]
            last = logits[:, -1]
            if barred:
                last = last.index_fill(1, torch.tensor(barred, device=last.device), NEVER)
            several.append(last)
            tokens = last.argmax(1, keepdim=True)
        return torch.stack(several, 2)


def sinusoids(length: int, width: int) -> Tensor:
    """(length, width): sines, then cosines, of wave lengths from 2 pi to 20,000 pi."""
    half = width // 2
    rates = torch.exp(-math.log(10_000) / max(1, half - 1) * torch.arange(half))
    angles = torch.arange(length)[:, None] * rates
    return F.pad(torch.cat([angles.sin(), angles.cos()], 1), (0, width - 2 * half))


def layer_map(layers: int, wanted: int) -> list[int]:
    """Which of a teacher's `layers` a student's `wanted` begin from: evenly spread and rounded down, the last is
    the last (create_student_model.py of huggingface/distil-whisper). Raises ValueError for none, or too many."""
    if not 1 <= wanted <= layers:
        raise ValueError(f"{wanted} layers cannot begin from {layers}")
    places = [int(place) for place in torch.linspace(0, layers - 1, wanted, dtype=torch.float64).tolist()]
    places[-1] = layers - 1
    return places


def with_fewer_layers(teacher: Recogniser, decoder_layers: int, layers: int | None = None) -> Recogniser:
    """A copy of the teacher with so many layers of decoder and encoder, which begin from its own by `layer_map`;
    tables, convolutions and positions are the teacher's. Raises ValueError."""
    encoder, decoder = teacher.encoder, teacher.decoder
    layers = len(encoder.blocks) if layers is None else layers
    mels, width = encoder.conv1.in_channels, encoder.conv1.out_channels
    vocabulary, positions = decoder.embedding.num_embeddings, len(decoder.positions)
    frames = 2 * len(encoder.positions)  # type: ignore[arg-type]
    student = Recogniser(mels, frames, vocabulary, teacher.length, positions, width, layers, decoder_layers)
    state = {name: value for name, value in teacher.state_dict().items() if ".blocks." not in name}
    for side, wanted in (("encoder", layers), ("decoder", decoder_layers)):
        blocks = getattr(teacher, side).blocks
        for place, from_place in enumerate(layer_map(len(blocks), wanted)):
            own = blocks[from_place].state_dict()
            state |= {f"{side}.blocks.{place}.{name}": value for name, value in own.items()}
    student.load_state_dict(state)
    student.bar(*teacher.barred)
    return student
