"""Gradients by asking: finite differences along random directions, for functions that only answer.

Inputs are (B, ...) of d numbers a sample, everything per sample. With directions u_1..u_m and a step h the gradient of
L is estimated as c/m * sum_i (L(x + h u_i) - L(x)) / h * u_i; antithetic differences are (L(x + h u_i) - L(x - h u_i))
/ 2h, whose bias falls with h^2 instead of h. c is d where the directions have length 1 (DFME, Truong et al. 2021; MAZE,
Kariyappa et al. 2021) and 1 for Gaussian ones (RGF). The cosine with the true gradient is about sqrt(m / d) for m much
smaller than d: of single samples nearly noise, and useful because a generator's gradient averages over a batch.

What one pays: `Differences.queries` of each sample, beside the one at the sample itself.

All that is asked for a difference is answered in float32: of a step of 1e-3 bf16 keeps nothing but noise (measured on a
network of four convolutions, 16x16 pixels, 50 directions: cosine 0.25 in float32, 0.00 in bf16).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Generator, Tensor

from ..rounding import full_precision

Along = Literal["sphere", "gaussian", "orthogonal", "coordinate"]
Scheme = Literal["forward", "antithetic"]
Ask = Callable[[Tensor], Tensor]
"""Points (N, ...) -> answers (N,) or (N, K), each row by itself. It is called without gradient."""
ROWS = 4096
"""Points that are asked in one call, at most, unless the batch itself is larger."""


@dataclass(frozen=True)
class Differences:
    """How differences are taken.

    directions: m, for each sample. step: h, in the units of the inputs. along: 'sphere' draws directions of length 1,
    'gaussian' of N(0, I), 'orthogonal' of length 1 and at right angles (a lower variance for the same m), 'coordinate'
    axes without repeats; of the last two there are at most d, and d of them give the gradient whole.
    """

    directions: int
    step: float
    along: Along = "sphere"
    scheme: Scheme = "forward"

    @property
    def queries(self) -> int:
        """Answers that an estimate takes of each sample, without the one at the sample itself: m, or 2m antithetic."""
        return self.directions * (2 if self.scheme == "antithetic" else 1)


def calls_of_value_and_gradient(rows: int, how: Differences) -> Counter[int]:
    """What `estimated` and its backward pass ask together of one batch of so many rows, the answers themselves and then
    the differences: points in a call -> such calls."""
    at_once = max(1, ROWS // max(1, rows))
    parts = [min(at_once, how.directions - start) for start in range(0, how.directions, at_once)]
    calls = Counter({rows: 1})
    for part in parts:
        calls[part * rows] += 2 if how.scheme == "antithetic" else 1
    return calls


def smallest_step(along: Along, size: int, levels: int = 255, slope: float = 1.0) -> float:
    """The least step that moves an input of `size` numbers in 0..1 which is rounded to multiples of 1 / levels.

    A direction of length 1 moves each number by about h / sqrt(size), so that h must be sqrt(size) / levels; with less
    nearly every rounded number stays as it was, and the estimate is exactly 0 or noise. Along an axis or a Gaussian a
    number moves by about h. slope: the largest slope of what stands between the point and the input, such as 1/4 of a
    sigmoid.
    """
    spread = math.sqrt(size) if along in ("sphere", "orthogonal") else 1.0
    return spread / levels / slope


def directions(like: Tensor, how: Differences, generator: Generator) -> Tensor:
    """(m, B, d) directions for inputs (B, ...), drawn on the CPU. Raises ValueError for more than there are."""
    rows, size, count = len(like), like[0].numel(), how.directions
    if how.along in ("orthogonal", "coordinate") and count > size:
        raise ValueError(f"{count} directions '{how.along}' of inputs of {size} numbers: there are at most {size}")
    if how.along == "coordinate":
        axes = torch.rand(rows, size, generator=generator).topk(count, dim=1).indices
        drawn = torch.zeros(count, rows, size, dtype=like.dtype).scatter_(2, axes.T[:, :, None], 1.0)
    elif how.along == "orthogonal":
        basis, _ = torch.linalg.qr(torch.randn(rows, size, count, generator=generator).to(like.dtype))
        drawn = basis.permute(2, 0, 1)
    else:
        drawn = torch.randn(count, rows, size, generator=generator).to(like.dtype)
        if how.along == "sphere":
            drawn = drawn / drawn.norm(dim=2, keepdim=True)
    return drawn.to(like.device)


@torch.no_grad()
def pullback(
    ask: Ask,
    inputs: Tensor,
    cotangent: Tensor,
    how: Differences,
    generator: Generator,
    answers: Tensor | None = None,
) -> Tensor:
    """The estimate of sum_k cotangent_k * d answers_k / d inputs, of the shape of the inputs (B, ...).

    cotangent: (B,) or (B, K) as the answers are: the slope of a loss in them, which is known exactly. answers: those at
    `inputs`, where they were asked before, in float32; else forward differences ask for them, one query a sample more.
    """
    # In float64 the sum of small differences is not lost beside the answers; networks are asked in float32.
    ask = _exactly(ask)
    weights = cotangent.double().flatten(1) if cotangent.ndim > 1 else cotangent.double()[:, None]
    if how.scheme == "forward" and answers is None:
        answers = ask(inputs)
    drawn = directions(inputs, how, generator)
    estimate = torch.zeros(len(inputs), inputs[0].numel(), dtype=torch.float64, device=inputs.device)
    for some in drawn.split(max(1, ROWS // max(1, len(inputs)))):
        ahead = _answers(ask, inputs, some, how.step)
        if how.scheme == "antithetic":
            slopes = (ahead - _answers(ask, inputs, some, -how.step)) / (2 * how.step)
        else:
            assert answers is not None
            slopes = (ahead - answers.double().reshape(1, *ahead.shape[1:])) / how.step
        estimate += torch.einsum("mbk,bk,mbd->bd", slopes, weights, some.double())
    scale = 1.0 if how.along == "gaussian" else inputs[0].numel()
    return (scale / how.directions * estimate).to(inputs.dtype).reshape(inputs.shape)


def _answers(ask: Ask, inputs: Tensor, drawn: Tensor, step: float) -> Tensor:
    """(m, B, K) float64 at inputs (B, ...) moved by `step` along drawn (m, B, d)."""
    points = inputs[None] + step * drawn.reshape(len(drawn), *inputs.shape).to(inputs.dtype)
    return ask(points.flatten(0, 1)).double().reshape(len(drawn), len(inputs), -1)


def _exactly(ask: Ask) -> Ask:
    """`ask`, answered in float32."""

    def asked(points: Tensor) -> Tensor:
        with full_precision():
            return ask(points)

    return asked


class _Estimated(torch.autograd.Function):
    """Answers whose backward pass asks."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, ask: Ask, how: Differences, generator: Generator) -> Tensor:  # type: ignore[override]
        answers = _exactly(ask)(inputs)
        ctx.save_for_backward(inputs, answers)
        ctx.asking = ask, how, generator
        return answers

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor, None, None, None]:
        inputs, answers = ctx.saved_tensors
        ask, how, generator = ctx.asking
        return pullback(ask, inputs, cotangent, how, generator, answers), None, None, None


def estimated(ask: Ask, inputs: Tensor, how: Differences, generator: Generator) -> Tensor:
    """The answers at inputs (B, ...), through which a loss has a gradient in them: an estimate, asked for in the
    backward pass. What else the loss depends on, such as a student's answers, keeps its exact gradient.

    Give a generator's output before its last activation as inputs, and the activation as a part of `ask`: then points
    beside them stay in range too (DFME, MAZE). It can be differentiated once.
    """
    return _Estimated.apply(inputs, ask, how, generator)  # type: ignore[return-value]
