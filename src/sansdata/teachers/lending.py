"""A teacher that is only asked lends gradients: they are estimated from what it answers beside the inputs."""

from __future__ import annotations

from collections.abc import Callable

from torch import Generator, Tensor

from ..contracts import OfGradient
from ..errors import MethodError
from ..objectives.estimate import Ask, Differences, calls_of_value_and_gradient, estimated, smallest_step
from ..settings import EstimateSettings

SMALL = 1e-3
"""The step of DFME and MAZE, where nothing is rounded."""


def differences(settings: EstimateSettings, size: int, levels: int | None, slope: float = 1.0) -> Differences:
    """How differences are taken of inputs of `size` numbers, which the teacher rounds to `levels`, None is not at all.

    slope: as in `smallest_step`. Raises MethodError for a step that rounding would swallow.
    """
    least = 0.0 if levels is None else smallest_step(settings.along, size, levels, slope)
    step = max(SMALL, least) if settings.step == "auto" else settings.step
    if step < least and not settings.below_rounding:
        raise MethodError(
            f"estimate: a step of {step:g} along '{settings.along}' moves inputs by less than the teacher's rounding "
            f"to {levels} levels: most answers would not change, and the gradient would be 0 or noise. The step must "
            f"be at least {least:.3g} here; step=auto takes that (below_rounding=true takes yours all the same)"
        )
    if settings.along in ("orthogonal", "coordinate") and settings.directions > size:
        raise MethodError(
            f"estimate: {settings.directions} directions along '{settings.along}' of inputs of {size} numbers: there "
            f"are at most {size}"
        )
    return Differences(settings.directions, step, settings.along, settings.scheme)


def calls_of_a_gradient(settings: EstimateSettings) -> OfGradient:
    """Samples of a batch -> what its answers and their gradient ask, as points in a call -> such calls."""
    how = Differences(settings.directions, 1.0, settings.along, settings.scheme)
    return lambda rows: calls_of_value_and_gradient(rows, how)


class Lender:
    """Answers with a gradient that is asked for in the backward pass; directions come from the stream 'estimate'."""

    def __init__(self, how: Differences) -> None:
        self.how = how
        self.stream: Callable[[str], Generator] = lambda name: Generator().manual_seed(0)

    def __call__(self, ask: Ask, inputs: Tensor) -> Tensor:
        return estimated(ask, inputs, self.how, self.stream("estimate"))
