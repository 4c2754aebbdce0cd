"""The contract of a federated algorithm: a server half and a client half that only meet in payloads.

Nothing here knows how payloads travel. Client ids are 0..N-1; a round is numbered from 0.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..contracts import Requirements, Stateful
from ..errors import MethodError, ReplyRefused
from ..runtime import Runtime
from ..streams import Streams
from ..tasks import Task
from .checks import MAX_EXAMPLES, Form, require_counts, require_form, require_numbers
from .data import ClientData
from .payload import Payload
from .settings import BatchNorm

LABELS, COUNTS = "labels", "counts"
ASK = "ask"

Memory = dict[str, Tensor]
"""What a client keeps from round to round, by name; it never leaves the client."""


@dataclass
class ServerContext:
    """All a server half may touch. model: the server's own, changed in place. streams: opened anew every round."""

    task: Task
    model: nn.Module
    clients: int
    rounds: int
    streams: Streams
    runtime: Runtime


@dataclass
class ClientContext:
    """All a client half may touch. model: work space of the right architecture; its weights are nobody's."""

    task: Task
    model: nn.Module
    runtime: Runtime
    batch_norm: BatchNorm = "average"


class ClientAlgo(ABC):
    """What happens at a client. One object may serve many clients: what belongs to one is in its `memory`."""

    def __init__(self, config: Any, context: ClientContext) -> None:
        self.config, self.context = config, context

    @abstractmethod
    def fit(self, payload: Payload, data: ClientData, memory: Memory, streams: Streams) -> Payload:
        """Trains on the client's data and gives the parts of the reply; afterwards the trained model is
        `context.model`. Changes `memory`."""

    def answer(self, payload: Payload, data: ClientData, memory: Memory, streams: Streams) -> Payload:
        """The whole reply: what `fit` gives, the round, the number of examples, and label counts where asked for."""
        reply = self.fit(payload, data, memory, streams)
        if LABELS in payload.facts.get(ASK, ()):
            reply.parts[LABELS] = {COUNTS: data.counts(self.context.task.classes)}
        reply.facts |= {"round": payload.facts["round"], "examples": len(data)}
        return reply

    def personalise(self, payload: Payload, data: ClientData, memory: Memory, streams: Streams) -> None:
        """Leaves in `context.model` the model that this client would use itself; `memory` stays as it was.

        Default: what training for one more round from `payload` gives.
        """
        self.fit(payload, data, dict(memory), streams)


class ServerAlgo(ABC):
    """What happens at the server. Holds the global model in `context.model`."""

    Config: ClassVar[type]
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    has_global_model: ClassVar[bool] = True
    """False where clients only ever have models of their own."""
    reveals: ClassVar[str]
    """What a client shows to the server, in plain words."""

    def __init__(self, config: Any, context: ServerContext) -> None:
        """Raises MethodError for a task of other kinds than it works on."""
        reason = self.requires(config).unmet_by(context.task.pair)
        if reason:
            raise MethodError(f"{type(self).__name__} cannot work on this task: {reason}")
        self.config, self.context = config, context

    @classmethod
    def requires(cls, config: Any) -> Requirements:
        """The kinds of task that it works on under these settings; nothing is asked of a teacher. Default: images and
        classes."""
        return Requirements()

    @classmethod
    @abstractmethod
    def client(cls, config: Any, context: ClientContext) -> ClientAlgo:
        """The client half that goes with these settings."""

    @abstractmethod
    def configure(self, round: int, clients: Sequence[int]) -> dict[int, Payload]:
        """The message to each of the round's clients; facts hold the round."""

    @abstractmethod
    def form(self, client: int) -> Form:
        """What this client's reply must hold in the present round."""

    def check(self, client: int, round: int, reply: Payload) -> None:
        """Judges a reply by itself, before it is used. Raises ReplyRefused with the reason."""
        require_form(reply, self.form(client), round)
        require_numbers(reply)

    def outliers(self, replies: Mapping[int, Payload]) -> dict[int, str]:
        """Judges the replies that passed `check` beside one another: client -> reason, of those to refuse."""
        return {}

    @abstractmethod
    def aggregate(self, round: int, replies: Mapping[int, Payload]) -> dict[str, float]:
        """Takes the replies that passed, at least one, in the order of the client ids; gives figures for the log."""

    def other_models(self) -> dict[str, nn.Module]:
        """Further models of the last round that are worth measuring beside the global one, by name: (B, ...) prepared
        inputs -> logits."""
        return {}

    def forget_round(self) -> None:  # noqa: B027 - most have nothing to drop
        """Drops what `other_models` gives. Called before a round, and after one that was undone."""

    @abstractmethod
    def state(self) -> Mapping[str, Stateful]:
        """Everything that outlives a round."""


def labels_form(classes: int) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
    """The form of label counts: one int32 per class."""
    return {COUNTS: ((classes,), torch.int32)}


def require_labels(counts: Tensor, least: int, expected: int, what: str) -> None:
    """Raises ReplyRefused where label counts (K,) are below `least` or do not add up."""
    require_counts("a label", counts, least, MAX_EXAMPLES)
    if int(counts.sum()) != expected:
        raise ReplyRefused(f"its label counts add up to {int(counts.sum()):,}, {what} is {expected:,}")
