"""Activations at few bits: ReLUs that give one of 2^bits values, a multiple of a resolution that is learnt (FAQD, Li et
al. 2023, after Yin et al. 2019, "Blended coarse gradient descent").

A network is changed in place: wherever its forward pass calls a ReLU, as a module or as a function, a stair stands for
it. One parameter of the network, `resolutions`, holds the width of a step for each of these places.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..columns import Inputs
from ..errors import StudentError
from ..models.modes import buffers_kept, fixed
from ..models.taps import call
from ..runtime import Runtime

START = {1: 1.2221, 2: 0.6511, 3: 0.3534, 4: 0.1946, 5: 0.1055, 6: 0.0573, 7: 0.0309, 8: 0.0165}
"""Bits -> the resolution of the least squared error on the positive half of N(0, 1): 1, 2 and 4 as released.

Deviation: the released code offers 8 bits and has no start for them; the others are ours, by the same rule.
"""
BOUNDS = (1e-3, 5.0)
"""Of a resolution, as released."""
SLOWER = 0.001
"""Factor on a resolution's gradient.

Deviation: 0.01 as released, for a rate of 0.01 and 200 epochs. At our rates, some times larger, the coarse gradient
then shrinks resolutions within the first steps until most of an activation is cut off: 68 % on held-out images after
200 steps where this gives 75 %, floats 75.7 % and resolutions that do not move 73 %.
"""
DECAYS = 0.01
"""Factor on a resolution's weight decay, as released."""
MAX_PLACES = 10_000

RELUS = {F.relu, F.relu_, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_}
OTHERS: set[Callable[..., Any]] = {
    F.gelu, F.silu, F.relu6, F.hardtanh, F.hardswish, F.hardsigmoid, F.leaky_relu, F.elu, F.selu, F.celu, F.prelu,
    F.mish, F.softplus, F.sigmoid, F.tanh, torch.sigmoid, torch.tanh, Tensor.sigmoid, Tensor.tanh,
}  # fmt: skip
"""What else makes activations, and has no stair here."""


def stairs(x: Tensor, resolution: Tensor, bits: int) -> Tensor:
    """0 up to 0, then the next multiple of the resolution (a number), at most 2^bits - 1 times."""
    return resolution * (x / resolution).ceil().clamp(0, 2**bits - 1)


class _Stairs(torch.autograd.Function):
    """The gradient to x is 1 on the stairs and 0 beside them; that to the resolution has three values: 0 below,
    2^(bits-1) on them and 2^bits - 1 above (the coarse gradient), summed, slowed down and held within -1..1."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, resolution: Tensor, bits: int) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(x, resolution)
        ctx.bits = bits
        return stairs(x, resolution, bits)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:  # type: ignore[override]
        x, resolution = ctx.saved_tensors
        steps = 2**ctx.bits - 1
        above = x > steps * resolution
        on = (x > 0) & ~above
        coarse = on.to(grad.dtype) * 2 ** (ctx.bits - 1) + above.to(grad.dtype) * steps
        return grad * on, (SLOWER * (grad * coarse).sum()).clamp(-1, 1).to(resolution.dtype), None


class AtFewBits(nn.Module):
    """Before the class of a network: its ReLUs, in the order in which they run, are stairs."""

    resolutions: nn.Parameter
    activation_bits: int

    def forward(self, *inputs: Any, **columns: Any) -> Any:
        with _InPlaceOfReLU(self.resolutions, self.activation_bits):
            return super().forward(*inputs, **columns)  # type: ignore[misc]


class _InPlaceOfReLU(TorchFunctionMode):
    """Meanwhile the n-th ReLU is the n-th stair. Those behind the last, of a part that came in later, are ReLUs."""

    def __init__(self, resolutions: Tensor, bits: int) -> None:
        super().__init__()
        self.resolutions, self.bits, self.ran = resolutions, bits, 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func not in RELUS or self.ran >= len(self.resolutions):
            return func(*args, **(kwargs or {}))
        x: Tensor = args[0] if args else (kwargs or {})["input"]
        resolution, self.ran = self.resolutions[self.ran], self.ran + 1
        made = _Stairs.apply if torch.is_grad_enabled() else stairs
        return made(x.float(), resolution, self.bits).to(x.dtype)  # type: ignore[union-attr]


def quantize_relus(module: nn.Module, prepared: Inputs, bits: int) -> int:
    """Puts the ReLUs of `module` at `bits`, in place; gives how many run. prepared: two inputs as it takes them.

    Raises StudentError where none runs, where other activations do, or where they are at other bits already.
    """
    if isinstance(module, AtFewBits):
        if module.activation_bits != bits:
            raise StudentError(
                f"the student's activations are at {module.activation_bits} bits already, and {bits} were asked for; "
                "start from one in float"
            )
        return len(module.resolutions)
    activations = _Seen()
    with torch.no_grad(), buffers_kept(module), fixed(module), activations:
        call(module, prepared)
    mend = "leave activations out: --bits w4 puts the weights alone at few bits"
    if activations.others:
        others = ", ".join(sorted(activations.others))
        raise StudentError(f"bits.activations={bits}: besides ReLU this student computes {others}; {mend}")
    if not activations.relus:
        raise StudentError(f"bits.activations={bits}: no ReLU runs in this student; {mend}")
    put_stairs(module, bits, activations.relus)
    return activations.relus


def put_stairs(module: nn.Module, bits: Any, places: Any) -> None:
    """The change of `quantize_relus` where the number of places is known. Raises StudentError where it is none."""
    whole = isinstance(bits, int) and isinstance(places, int)
    if not (whole and bits in START and 1 <= places <= MAX_PLACES) or isinstance(module, AtFewBits):
        raise StudentError(
            f"activations at few bits: expected 1 to 8 bits and 1 to {MAX_PLACES:,} places in a network of ReLUs, got "
            f"{bits!r:.20}, {places!r:.20} in {type(module).__name__}"
        )
    cls = type(module)
    module.__class__ = type(f"{cls.__name__}AtFewBits", (AtFewBits, cls), {})
    start = torch.full((places,), START[bits])
    module.activation_bits = bits  # type: ignore[assignment]
    module.register_parameter("resolutions", nn.Parameter(start))


def put_stairs_of(provenance: Mapping[str, Any], module: nn.Module) -> None:
    """The same where a student's file says so whose network only its maker can build; else nothing."""
    bits = provenance.get("bits")
    if isinstance(bits, Mapping) and bits.get("activations") is not None:
        put_stairs(module, bits["activations"], bits.get("places"))


def resolutions(module: nn.Module) -> Iterator[nn.Parameter]:
    """Those of every network within `module`."""
    return (part.resolutions for part in module.modules() if isinstance(part, AtFewBits))


def bound_resolutions(module: nn.Module, runtime: Runtime) -> None:
    """From here on `runtime.step` leaves resolutions within BOUNDS."""
    for parameter in resolutions(module):
        runtime.keep(parameter, lambda value: value.clamp_(*BOUNDS))


class _Seen(TorchFunctionMode):
    """Counts the ReLUs that run, and names what else makes activations."""

    def __init__(self) -> None:
        super().__init__()
        self.relus, self.others = 0, set[str]()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in RELUS:
            self.relus += 1
            return torch.clamp_min(args[0] if args else (kwargs or {})["input"], 0)
        if func in OTHERS:
            self.others.add(func.__name__)
        return func(*args, **(kwargs or {}))
