"""Where and how tensors are computed: device, precision, memory layout, one process or several."""

from __future__ import annotations

import contextlib
import ctypes
import json
import math
import time
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from . import columns
from .columns import Inputs
from .contracts import Counters, Outputs
from .errors import ConfigError, PeerLost, first_line
from .models.sharded import is_sharded
from .network import Network
from .process_group import MEND, local_rank, place_in_group
from .rounding import is_full_precision

Placed = TypeVar("Placed", bound=nn.Module | Tensor | Mapping[str, Tensor])
PRECISIONS = ("auto", "fp32", "bf16")
PATIENCE = 600.0
"""Seconds that one process waits for another to take its part: many times what the slowest move takes."""
LEAVING = 15.0
"""The same, once a signal has asked for the end."""
POLL = timedelta(seconds=0.5)
"""Between looks at signals while waiting."""
TORN = ("Connection closed by peer", "Connection reset by peer", "ncclRemoteError")
"""What gloo and nccl say where a process has ended while the others met it in a pass of their own, as shares are put
together."""


class Runtime:
    """One process's view of the machine; `rank` of `world`, several under torchrun. layout: of 4-d tensors."""

    def __init__(
        self,
        device: str = "cpu",
        precision: str = "fp32",
        rank: int = 0,
        world: int = 1,
        layout: torch.memory_format = torch.channels_last,
    ) -> None:
        self.device = torch.device(device)
        self.precision = precision
        self.rank, self.world = rank, world
        self.overdue: Callable[[], bool] = lambda: False
        """Whether a signal has waited long enough for the move that is being made."""
        self.layout = layout
        # A rehearsal's copies end with it: what is remembered of them must not hold them.
        self._kept: MutableMapping[Tensor, Callable[[Tensor], object]] = WeakTensorKeyDictionary()

    # -- one process

    def place(self, value: Placed) -> Placed:
        """A module, or inputs, on the device, 4-d tensors in the layout; what is shared out stays where it lies."""
        if isinstance(value, nn.Module):
            if is_sharded(value):
                return value
            value.to(self.device)
            for tensor in (*value.parameters(), *value.buffers()):
                if tensor.ndim == 4:
                    tensor.data = tensor.data.to(memory_format=self.layout)
            return value
        return columns.each(self._placed, value)  # type: ignore[return-value]

    def _placed(self, column: Tensor) -> Tensor:
        layout = self.layout if column.ndim == 4 else torch.preserve_format
        return column.to(self.device, memory_format=layout)

    @property
    def room(self) -> int:
        """Bytes that may stay on an accelerator over many steps: a quarter of what is free there; 0 on a processor,
        where they are at hand."""
        return torch.cuda.mem_get_info(self.device)[0] // 4 if self.device.type == "cuda" else 0

    def autocast(self) -> contextlib.AbstractContextManager:
        """bf16 where the run has it, and nobody asks for full precision meanwhile."""
        rounded = self.precision == "bf16" and not is_full_precision()
        return torch.autocast(self.device.type, torch.bfloat16, enabled=rounded)

    def forward(
        self,
        network: Network,
        inputs: Inputs,
        taps: Sequence[str] = (),
        counters: Counters | None = None,
        name: str = "student",
    ) -> Outputs:
        """The answers of `network` to inputs as they travel; counts forwards, and backwards where one can follow."""
        if counters is not None:
            counters.add(f"{name}_forwards", columns.count(inputs))
            if torch.is_grad_enabled() and (name == "student" or columns.asks_gradient(inputs)):
                counters.add(f"{name}_backwards", columns.count(inputs))
        if self.layout is torch.contiguous_format:  # then a network may ask for it (view), and inputs come as they are
            inputs = self.place(inputs)
        with self.autocast(), self._recurrence(network.module):
            outputs = network(inputs, taps)
        if self.world == 1 and self.overdue():
            raise KeyboardInterrupt("the move was too long to be waited for")
        return outputs

    def _recurrence(self, module: nn.Module) -> contextlib.AbstractContextManager[None]:
        """torch's own recurrent layers in place of cuDNN's, which give no gradient in eval mode."""
        gradient = self.device.type == "cuda" and torch.is_grad_enabled()
        if gradient and any(isinstance(part, nn.RNNBase) and not part.training for part in module.modules()):
            return torch.backends.cudnn.flags(enabled=False)
        return contextlib.nullcontext()

    def step(self, optimizer: torch.optim.Optimizer, clip: float | None = None) -> None:
        """The only way to step: gradients averaged over ranks in a fixed order, clipped, applied, cleared."""
        params = [p for group in optimizer.param_groups for p in group["params"]]
        if self.world > 1:
            for p in params:
                if p.grad is None:
                    p.grad = torch.zeros_like(p)
                self._wait(dist.all_reduce(p.grad, async_op=True))
                p.grad /= self.world
        if clip is not None:
            nn.utils.clip_grad_norm_(params, clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            for p in params:
                if p in self._kept:
                    self._kept[p](p)

    def keep(self, parameter: Tensor, put_back: Callable[[Tensor], object]) -> None:
        """From now on every step ends with `put_back(parameter)`, which puts it back, in place, to where it may be."""
        self._kept[parameter] = put_back

    # -- several processes

    def broadcast(self, module: nn.Module) -> None:
        """Rank 0's parameters and buffers, everywhere."""
        if self.world > 1:
            for value in module.state_dict().values():
                self._wait(dist.broadcast(value, 0, async_op=True))

    def agree(self, value: bool) -> bool:
        """True on every rank if it is true on any: every data-dependent branch goes through here."""
        if self.world == 1:
            return value
        flag = torch.tensor([int(value)])
        self._wait(dist.all_reduce(flag, op=dist.ReduceOp.MAX, async_op=True))
        return bool(flag.item())

    def sum(self, values: Iterable[float]) -> list[float]:
        """Element-wise sum over ranks."""
        values = list(values)
        if self.world == 1:
            return values
        total = torch.tensor(values, dtype=torch.float64)
        self._wait(dist.all_reduce(total, async_op=True))
        return total.tolist()

    def from_rank_0(self, value: object, patient: bool = False) -> object:
        """Rank 0's plain value (what JSON can say), everywhere. patient: however long rank 0 needs to have one."""
        if self.world == 1:
            return value
        text = json.dumps(value).encode() if self.rank == 0 else b""
        length = torch.tensor([len(text)])
        self._wait(dist.broadcast(length, 0, async_op=True), math.inf if patient else None)
        letters = torch.tensor(list(text) if self.rank == 0 else [0] * int(length), dtype=torch.uint8)
        self._wait(dist.broadcast(letters, 0, async_op=True))
        return json.loads(bytes(letters.tolist()))

    def barrier(self, patience: float | None = None) -> None:
        """Waits for every rank, `patience` seconds at most; None is the usual."""
        if self.world > 1:
            self._wait(dist.barrier(async_op=True), patience)

    def _wait(self, work: Any, patience: float | None = None) -> None:
        """Until every rank has taken its part. A signal is heard meanwhile: torch itself would wait deaf for half an
        hour. Raises PeerLost where another rank has ended, or does not answer."""
        start = time.monotonic()
        while True:
            try:
                work.wait(POLL)
                return
            except RuntimeError as fault:
                if work.is_completed() and "timed out" not in str(fault):
                    raise self.left_alone(fault) from None
            waited, limit = time.monotonic() - start, PATIENCE if patience is None else patience
            if waited > (min(LEAVING, limit) if self.overdue() else limit):
                raise PeerLost(
                    f"another process of this run (of {self.world}) has not answered for {waited:.0f} s. "
                    "What was saved stands; end it, and start all of them again with --resume."
                )

    def left_alone(self, fault: BaseException) -> PeerLost:
        """The error for what torch raises when another process has ended."""
        return PeerLost(
            f"another process of this run (of {self.world}) has ended: its own output says why. "
            f"What was saved stands; start all of them again with --resume. [{first_line(fault)}]"
        )

    def leave(self) -> None:
        """Ends the process group that `make_runtime` joined."""
        if self.world > 1:
            dist.destroy_process_group()


def make_runtime(device: str = "auto", precision: str = "auto") -> Runtime:
    """The runtime for this process; joins the group where torchrun started several.

    Raises ConfigError for a device or precision that is not there, or a group that cannot be joined.
    """
    rank, world = place_in_group()
    device = resolve_device(device)
    if device.startswith("cuda") and world > 1:
        device = f"cuda:{local_rank()}"
        torch.cuda.set_device(device)  # nccl opens its buffers on the present device
    if world > 1 and not dist.is_initialized():
        try:
            # Tensors on a processor (counts, flags) go by gloo; gradients on accelerators by nccl.
            dist.init_process_group("cpu:gloo,cuda:nccl" if device.startswith("cuda") else "gloo")
        except (ValueError, RuntimeError) as fault:
            raise ConfigError(
                f"WORLD_SIZE is {world}, and the other processes cannot be joined ({first_line(fault)}). {MEND}"
            ) from None
    return Runtime(device, resolve_precision(precision, device), rank, world)


def keep_freed_memory(device: str) -> None:
    """Asks glibc to reuse freed tensors instead of giving them back to the system and faulting them in anew, for as
    long as the process lives: for a process of our own, and not for a larger program that calls us.

    A step frees and takes the same hundreds of megabytes again; the faults cost 5 to 10 % of it. Elsewhere, and with
    another `device` than the processor, a no-op. Raises ConfigError for a device that is not there.
    """
    if resolve_device(device) != "cpu":
        return
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        trim_threshold, top_pad, mmap_max = -1, -2, -4  # malloc.h
        mallopt(mmap_max, 0)
        mallopt(trim_threshold, 2**31 - 1)
        mallopt(top_pad, 2**28)


def resolve_device(name: str) -> str:
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        kind = torch.device(name).type
    except RuntimeError:
        raise ConfigError(f"device '{name}' is not a device name; use auto, cpu, cuda or cuda:N") from None
    if kind not in ("cpu", "cuda"):
        raise ConfigError(f"device '{name}' is not supported; use auto, cpu, cuda or cuda:N")
    if kind == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"device '{name}' was asked for, but this torch sees no CUDA device; use --device cpu")
    return name


def resolve_precision(name: str, device: str) -> str:
    if name not in PRECISIONS:
        raise ConfigError(f"precision '{name}' is unknown; use one of {', '.join(PRECISIONS)}")
    if name == "auto":
        return "bf16" if has_fast_bf16(device) else "fp32"
    return name


def has_fast_bf16(device: str) -> bool:
    """Whether the machine multiplies bf16 in hardware; emulated bf16 is slower than fp32."""
    if device.startswith("cuda"):
        return torch.cuda.is_bf16_supported(including_emulation=False)
    probe = getattr(torch.backends.cpu, "get_cpu_capability", lambda: "")()
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return "AVX512" in probe and bool(supported is not None and supported())
