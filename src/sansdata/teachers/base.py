"""The teacher: frozen, counted, asked in unit space."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from ..contracts import Access, Counters, Outputs
from ..errors import TeacherError
from ..models.taps import execution_order, logits_of
from ..runtime import Runtime
from ..tasks import ImageTask


@dataclass(frozen=True)
class Anatomy:
    """What a white-box classifier is made of."""

    batch_norms: tuple[str, ...]
    """Paths of BatchNorm2d layers with running statistics, in the order they run."""
    head: str | None
    """Path of the linear layer that gives the logits, or None."""
    parameters: int


class Teacher:
    """A frozen classifier. Called with images (B, C, H, W) in unit space, it gives logits (B, K) float32.

    The module is a private copy in eval mode whose parameters carry no gradient; the caller's module stays as it was.
    """

    access = Access.WEIGHTS

    def __init__(
        self,
        module: nn.Module,
        task: ImageTask,
        architecture: dict | None = None,
        source: str = "a module in Python",
        sha256: str | None = None,
        helpers: Sequence[Teacher] = (),
    ) -> None:
        """architecture: how to build the module again (models.build), None where only the caller knows. helpers: other
        models of the same job, see `helped_by`."""
        self.module = module
        self.task = task
        self.architecture = architecture
        self.source = source
        self.sha256 = sha256
        self.helpers = tuple(helpers)
        self.counters = Counters()
        self.runtime = Runtime()
        self._anatomy: Anatomy | None = None

    @classmethod
    def from_module(cls, module: nn.Module, task: ImageTask | str | dict) -> Teacher:
        """A teacher from a module that takes normalised images. Raises TeacherError for what is no image classifier."""
        from ..tasks import load_task

        return cls(plain_copy(module), load_task(task))

    @property
    def members(self) -> tuple[Teacher, ...]:
        """This teacher, whose answers the student learns, then its helpers."""
        return (self, *self.helpers)

    def helped_by(self, helpers: Sequence[Teacher]) -> Teacher:
        """This teacher with further models of the same job, each with its own preprocessing. Methods that can ask
        several models for their inputs ask all members; the student learns this teacher's answers alone.

        Raises TeacherError where a helper's images or classes are others.
        """
        for helper in helpers:
            for field in ("shape", "classes", "class_names"):
                came, expected = getattr(helper.task, field), getattr(self.task, field)
                if came != expected:
                    raise TeacherError(
                        f"helper '{helper.source}' was made for {field} {came} and the teacher for {expected}: a "
                        "helper must do the same job, with the classes in the same order"
                    )
        return Teacher(self.module, self.task, self.architecture, self.source, self.sha256, helpers)

    @property
    def anatomy(self) -> Anatomy:
        if self._anatomy is None:
            self._anatomy = dissect(self.module, self.task)
        return self._anatomy

    def to(self, runtime: Runtime) -> Teacher:
        """Moves all members to the runtime's device and memory layout; they answer in its precision."""
        for member in self.members:
            member.runtime = runtime
            runtime.place(member.module)
        return self

    def count_into(self, counters: Counters) -> None:
        """Every member's passes are counted there, as teacher passes."""
        for member in self.members:
            member.counters = counters

    def __call__(self, images: Tensor, taps: Sequence[str] = ()) -> Outputs:
        """images (B, C, H, W) in unit space; taps as in models.taps.forward. Gradients flow to the images."""
        return self.runtime.forward(self.module, self.task, images, taps, self.counters, "teacher")

    predict = __call__

    def fingerprint(self) -> str:
        """SHA-256 over all parameters and buffers of all members: unchanged after any run."""
        own = [fingerprint(member.module) for member in self.members]
        return own[0] if len(own) == 1 else hashlib.sha256("".join(own).encode()).hexdigest()


def plain_copy(module: nn.Module) -> nn.Module:
    """A frozen float32 copy, out of torch.compile's and DataParallel's wrappers. Raises TeacherError for what cannot
    be copied or is no nn.Module whose parts can be read."""
    if not isinstance(module, nn.Module):
        raise TeacherError(f"expected a torch.nn.Module, got {type(module).__name__}")
    if isinstance(module, torch.jit.ScriptModule):
        raise TeacherError(
            "TorchScript modules are out of scope: their parts cannot be read. Give the nn.Module it was made from."
        )
    inner = getattr(module, "_orig_mod", None)  # hooks on a compiled module may not fire
    if inner is None and isinstance(module, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        inner = module.module
    if isinstance(inner, nn.Module):
        return plain_copy(inner)
    for name, value in [*module.named_parameters(), *module.named_buffers()]:
        if isinstance(value, (UninitializedParameter, UninitializedBuffer)):
            raise TeacherError(
                f"'{name}' has no shape yet (a lazy layer): run the module once on an image, then give it"
            )
        if value.is_meta:
            raise TeacherError(f"'{name}' is on the meta device and has no values: load the weights first")
    try:
        copied = copy.deepcopy(module)
    except Exception as fault:
        raise TeacherError(
            f"the module cannot be copied ({type(fault).__name__}: {str(fault)[:200]}). A teacher is kept as a private "
            "copy; remove what it holds beside layers and tensors (open files, locks, results of a forward pass)."
        ) from fault
    if any(v.is_floating_point() and v.dtype != torch.float32 for v in [*copied.parameters(), *copied.buffers()]):
        copied = copied.float()  # half and double weights: precision is the runtime's business
    return freeze(copied)


def freeze(module: nn.Module) -> nn.Module:
    return module.eval().requires_grad_(False)


def fingerprint(module: nn.Module) -> str:
    """SHA-256 over names, shapes and bytes of all parameters and buffers."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(f"{name}{tuple(value.shape)}{value.dtype}".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def dissect(module: nn.Module, task: ImageTask) -> Anatomy:
    """Runs two blank images through the module and notes what ran. Raises what the module raises."""
    device = next((p.device for p in module.parameters()), torch.device("cpu"))
    probe = torch.zeros(2, *task.shape, device=device)
    ran = execution_order(module, probe, lambda part: isinstance(part, (nn.BatchNorm2d, nn.Linear, nn.Conv2d)))
    with torch.no_grad():
        logits = logits_of(module(probe))
    norms, head = [], None
    for path, output in ran:
        part = module.get_submodule(path)
        if isinstance(part, nn.BatchNorm2d) and part.running_mean is not None and path not in norms:
            norms.append(path)
        if isinstance(part, nn.Linear) and isinstance(output, Tensor) and torch.equal(output, logits):
            head = path
    return Anatomy(tuple(norms), head, sum(p.numel() for p in module.parameters()))
