"""The teacher: frozen, counted, asked through its own door."""

from __future__ import annotations

import contextlib
import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from .. import columns
from ..columns import Inputs
from ..contracts import Access, Counters, Outputs
from ..errors import StudentError, TeacherError
from ..kinds.index import input_kind
from ..models.copying import private_copy, without_shape
from ..models.device import device_of
from ..models.folding import FoldedNorm, folded
from ..models.modes import borrowed, buffers_kept, fixed, usual_modes
from ..models.norms import matches, remembers
from ..models.sharded import held
from ..models.taps import call, execution_order
from ..network import Network
from ..objectives.batch_stats import BatchStatistics
from ..runtime import Runtime
from ..streams import Streams
from ..tasks import Task, load_task
from .denoiser import denoising
from .lending import Lender
from .probing import no_gradient
from .service.meter import Meter

if TYPE_CHECKING:
    from .shares import Shares

WANTS = {
    "encodes": "it needs a teacher that draws latents (made by `sansdata autoencoder`), and this one does not",
    "generates": "it needs a teacher that writes texts (a language model), and this one only reads them",
    "denoises": "it needs a teacher that denoises at every time (a diffusion model), and this one only answers",
    "panel": "it asks several classifiers with label sets of their own, and this is one teacher: name them in a panel "
    "(--teacher panel.yaml, see docs/few-shot.md)",
}
"""Capability -> why a method cannot work without it."""


@dataclass(frozen=True)
class Inside:
    """What a white box is made of."""

    module: nn.Module
    batch_norms: tuple[str, ...]
    """Paths of layers that remember statistics (models.norms), in the order they run; each runs once in a pass."""
    head: str | None
    """Path of the linear layer that gives the answers, or None."""
    parameters: int
    shared_norms: tuple[str, ...] = ()
    """Paths of those that run several times in a pass: what arrives there is no one batch, so nobody may match them."""


class Teacher:
    """A frozen network. Called with inputs as they travel (images (B, C, H, W) in unit space), it answers in the kind
    of its task: classes are logits (B, K) float32.

    The module is a private copy in eval mode whose parameters carry no gradient; the caller's module stays as it was.
    """

    def __init__(
        self,
        module: nn.Module,
        task: Task,
        architecture: dict | None = None,
        source: str = "a module in Python",
        sha256: str | None = None,
        helpers: Sequence[Teacher] = (),
        most: Access = Access.WEIGHTS,
        notes: Sequence[str] = (),
        capabilities: Mapping[str, Any] | None = None,
    ) -> None:
        """task: with this teacher's own preprocessing. architecture: how to build the module again (models.build), None
        where only the caller knows. helpers: other models of the same job, see `helped_by`. most: how far the source
        lets us look, whatever the module would allow. notes: what was decided in reading it that its source does not
        say. capabilities: what it can do besides answering -> who does it."""
        self.network = Network.of(module, task)
        self.task = task
        self.architecture = architecture
        self.source = source
        self.sha256 = sha256
        self.helpers = tuple(helpers)
        self.most = most
        self.notes = tuple(notes)
        self.capabilities = {**denoising(module, task), **(capabilities or {})}
        self.counters = Counters()
        self.runtime = Runtime()
        self.lender: Lender | None = None
        """Estimates gradients in place of the teacher's own."""
        self.meter: Meter | None = None
        """Where every question to it costs something; see `meters`."""
        self.shares: Shares | None = None
        """Where this process holds a part of it only."""
        self.allowed_methods: tuple[str, ...] = ()
        """By which methods its maker allows it to be distilled; empty: by any."""

    @classmethod
    @usual_modes()
    def from_module(cls, module: nn.Module, task: Task | str | dict) -> Teacher:
        """A teacher from a module that takes what its task's preprocessing gives (normalised images). Raises
        TeacherError for what is no module that can be copied."""
        return cls(plain_copy(module), load_task(task))

    @classmethod
    @usual_modes()
    def from_scores(cls, predict: Any, task: Task | str | dict, source: str = "a callable in Python") -> Teacher:
        """A teacher of rows that is only asked: see teachers.scores."""
        from .scores import from_scores

        return from_scores(predict, load_task(task), source)

    @property
    def module(self) -> nn.Module:
        """What answers. To look into it is `inside`'s business, which says whether one may."""
        return self.network.module

    @property
    def members(self) -> tuple[Teacher, ...]:
        """This teacher, whose answers the student learns, then its helpers."""
        return (self, *self.helpers)

    @property
    def meters(self) -> tuple[Meter, ...]:
        """One for each member, and each of theirs, to which every question costs something."""
        own = () if self.meter is None else (self.meter,)
        return own + tuple(meter for member in self.members[1:] for meter in member.meters)

    def helped_by(self, helpers: Sequence[Teacher]) -> Teacher:
        """This teacher with further models of the same job, each with its own preprocessing. Methods that can ask
        several models for their inputs ask all members; the student learns this teacher's answers alone.

        Raises TeacherError where a helper's inputs or outputs are others.
        """
        for helper in helpers:
            for side in ("inputs", "outputs"):
                theirs, expected = (getattr(one.task, side).model_dump() for one in (helper, self))
                for field in theirs.keys() | expected.keys():
                    unnamed = field == "class_names" and not (theirs.get(field) and expected.get(field))
                    if theirs.get(field) != expected.get(field) and field != "column" and not unnamed:
                        raise TeacherError(
                            f"helper '{helper.source}' was made for {field} {theirs.get(field)} and the teacher for "
                            f"{expected.get(field)}: a helper must do the same job, with the classes in the same order"
                        )
        helped = Teacher(
            self.module, self.task, self.architecture, self.source, self.sha256, helpers, self.most, self.notes,
            self.capabilities,
        )  # fmt: skip
        helped.meter, helped.allowed_methods = self.meter, self.allowed_methods
        return helped

    @property
    def levels(self) -> int | None:
        """Steps between black and white that the inputs are rounded to before it sees them; None where they are not."""
        return None if self.meter is None else self.meter.offer.levels

    def lend(self, lender: Lender) -> None:
        """From now on gradients through the teacher are estimated, whatever else it offers. Raises TeacherError for a
        teacher that names labels alone."""
        if self.most < Access.SCORES:
            raise TeacherError(
                f"the teacher '{self.source}' gives labels alone: between two labels there is no difference that a "
                "gradient could be estimated from. Take a method that works on labels (ideal, dfms)"
            )
        self.lender = lender
        self.__dict__.pop("access", None)

    def share_out(self, module: nn.Module, shares: Shares, most: Access) -> None:
        """From now on `module` answers, of which this process holds a part; it lets nobody look further than `most`."""
        self.network, self.shares, self.most = self.network.around(module), shares, min(self.most, most)
        for known in ("access", "_inside", "folded"):
            self.__dict__.pop(known, None)

    def capability(self, name: str) -> Any:
        """Who does what `Requirements.capabilities` asked for. Raises TeacherError where it cannot."""
        if name not in self.capabilities:
            raise TeacherError(f"the teacher '{self.source}' cannot do this: {WANTS.get(name, name)}")
        return self.capabilities[name]

    @cached_property
    def access(self) -> Access:
        """How far one may look: what the source allows, and no further than the module itself lets a gradient pass, or
        who estimates it."""
        if self.lender is not None:
            return Access.GRADIENTS
        if self.most < Access.GRADIENTS:
            return self.most
        with torch.random.fork_rng(devices=[]), fixed(self.module), buffers_kept(self.module):
            blind = no_gradient(self.network, input_kind(self.task))
        return Access.SCORES if blind else self.most

    @property
    def inside(self) -> Inside:
        """The module and its parts. Raises TeacherError below WEIGHTS, and what the module raises."""
        if self.access < Access.WEIGHTS:
            raise TeacherError(f"the teacher gives no more than its {self.access.name.lower()}: nobody looks inside")
        return self._inside

    @cached_property
    def _inside(self) -> Inside:
        return dissect(self.network, input_kind(self.task).draw(2, torch.Generator().manual_seed(0)))

    def to(self, runtime: Runtime) -> Teacher:
        """Moves all members to the runtime's device and memory layout; they answer in its precision."""
        for member in self.members:
            member.runtime = runtime
            member.__dict__.pop("folded", None)
            runtime.place(member.module)
        return self

    @contextlib.contextmanager
    def lent(self) -> Iterator[Teacher]:
        """It may be moved meanwhile, and is where it was afterwards."""
        with contextlib.ExitStack() as put_back:
            for member in self.members:
                put_back.enter_context(borrowed(member.module))
                put_back.callback(setattr, member, "runtime", member.runtime)
            yield self

    def count_into(self, counters: Counters) -> None:
        """Every member's passes are counted there, as teacher passes."""
        for member in self.members:
            member.counters = counters

    def draw_from(self, streams: Streams) -> None:
        """Directions of estimates are drawn from there."""
        if self.lender is not None:
            self.lender.stream = streams

    def statistics(self, matched: bool = True, momentum: float = 0.0, first: float = 1.0) -> BatchStatistics:
        """The prior of its BatchNorm layers, of none unless `matched`; momentum and first as there. Its taps are read
        in the same network with these layers folded, where they can be: a quarter faster, gradient included."""
        if not matched:
            return BatchStatistics(nn.Module(), (), momentum, first)
        module = self.inside.module if self.folded is None else self.folded.module
        return BatchStatistics(module, self.inside.batch_norms, momentum, first)

    @cached_property
    def folded(self) -> Network | None:
        """The network with its BatchNorm layers folded, for taps that say so."""
        if self.shares is not None:
            return None
        drawn = self.runtime.place(input_kind(self.task).draw(2, torch.Generator().manual_seed(0)))
        module = folded(self.inside.module, self.network.preprocessor(drawn), self.network.outputs.read)
        return None if module is None else self.network.around(self.runtime.place(module))

    def __call__(self, inputs: Inputs, taps: Sequence[str] = ()) -> Outputs:
        """inputs as they travel; taps as in models.taps.forward. Gradients flow to the inputs where their kind lets
        them, or are lent."""
        if self.lender is not None and torch.is_grad_enabled() and columns.asks_gradient(inputs):
            assert isinstance(inputs, Tensor)
            return Outputs(self.lender(self._ask, inputs))
        network = self.network
        if any(tap.endswith(f":{FoldedNorm.side}") for tap in taps):
            assert self.folded is not None
            network = self.folded
        return self.runtime.forward(network, inputs, taps, self.counters, "teacher")

    def _ask(self, points: Tensor) -> Tensor:
        return self.runtime.forward(self.network, points, (), self.counters, "teacher").value

    def fingerprint(self) -> str:
        """SHA-256 over all parameters and buffers of all members: unchanged after any run."""
        own = [member._own_fingerprint() for member in self.members]
        return own[0] if len(own) == 1 else hashlib.sha256("".join(own).encode()).hexdigest()

    def _own_fingerprint(self) -> str:
        """Of a part, that of the whole as long as the part is what it was."""
        own = fingerprint(self.module)
        return self.shares.fingerprint if self.shares is not None and own == self.shares.held else own

    @property
    def asked_jointly(self) -> bool:
        """Whether every pass of it is one of all processes, so that none may ask it alone."""
        return self.shares is not None and self.runtime.world > 1

    @property
    def parameters(self) -> int:
        """How many numbers it learnt, here and elsewhere."""
        return sum(p.numel() for p in self.module.parameters()) if self.shares is None else self.shares.parameters


def plain_copy(module: nn.Module) -> nn.Module:
    """A frozen private copy in float32. Raises TeacherError for what cannot be copied, or has no weights yet."""
    copied = private_copy(module)
    if name := without_shape(copied):
        raise TeacherError(f"'{name}' has no shape yet (a lazy layer): run the module once on an input, then give it")
    return freeze(copied)


def freeze(module: nn.Module) -> nn.Module:
    return module.eval().requires_grad_(False)


def fingerprint(module: nn.Module) -> str:
    """SHA-256 over names, shapes and bytes of all parameters and buffers, or what a module without any says of
    itself."""
    own = getattr(module, "fingerprint", None)
    if callable(own):
        return str(own())
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(name.encode())
        _digest(value, digest)
    return digest.hexdigest()


def _digest(value: Any, digest: Any) -> None:
    """A tensor's shape, type and bytes; parts of a packed layer, such as those of a quantised one, by what they say."""
    if isinstance(value, (tuple, list)):
        for one in value:
            _digest(one, digest)
    elif not isinstance(value, Tensor):
        digest.update(repr(value).encode())
    else:
        value = held(value)
        plain = (value.dequantize() if value.is_quantized else value).detach().cpu().contiguous()
        digest.update(f"{tuple(value.shape)}{value.dtype}".encode())
        digest.update(plain.reshape(-1).view(torch.uint8).numpy().tobytes())


def head_of(module: nn.Module, task: Task, lack: str) -> str:
    """The path of the linear layer that gives the logits of images; its input is the feature vector. Raises
    StudentError, which says what is lacking where there is none."""
    with fixed(module):
        head = dissect(Network.of(module, task), torch.zeros(2, *task.shape)).head
    if head is None:
        raise StudentError(f"{type(module).__name__}: no linear layer gives its logits, {lack}")
    return head


def dissect(network: Network, inputs: Inputs) -> Inside:
    """Runs two inputs, as they travel, through the network and notes what ran. Raises what the module raises."""
    module = network.module
    prepared = network.preprocessor(columns.to(inputs, device_of(module)))
    ran = execution_order(module, prepared, lambda part: remembers(part) or isinstance(part, nn.Linear))
    with torch.no_grad():
        answers = network.outputs.read(call(module, prepared))
    times = Counter(path for path, _ in ran)
    norms = list(dict.fromkeys(path for path, output in ran if matches(module.get_submodule(path), output)))
    heads = [
        path for path, output in ran
        if times[path] == 1 and isinstance(module.get_submodule(path), nn.Linear)
        and isinstance(output, Tensor) and torch.equal(output.float(), answers)
    ]  # fmt: skip
    return Inside(
        module, tuple(path for path in norms if times[path] == 1), heads[-1] if heads else None,
        sum(p.numel() for p in module.parameters()), tuple(path for path in norms if times[path] > 1),
    )  # fmt: skip
