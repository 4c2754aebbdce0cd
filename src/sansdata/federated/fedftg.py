"""FedFTG (Zhang et al., CVPR 2022, arXiv 2203.09249): after every averaging by a host, the server fine-tunes the
averaged model by data-free distillation from the round's client models. Clients are the host's, untouched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..contracts import Stateful
from ..engine.session import Session
from ..memory import Slot
from ..models.copying import duplicate
from ..models.cost import multiply_adds
from ..models.generators import ConditionalGenerator
from ..objectives.federated import class_shares
from ..synthesis.labels import proportional_labels
from ..teachers.base import Teacher
from .aggregate import state_of
from .algo import ASK, COUNTS, LABELS, ClientAlgo, ClientContext, ServerAlgo, ServerContext, labels_form, require_labels
from .checks import Form
from .fedavg import MODEL
from .fedftg_distil import ServerDistillation
from .fedftg_settings import Distillation, FedFTGConfig
from .index import federated_config, find_server
from .payload import Payload


class ClassEnsemble(nn.Module):
    """The clients together: a class has the probability that they give it, each by its share of it; shares (S, K)."""

    def __init__(self, models: Sequence[nn.Module], shares: Tensor) -> None:
        super().__init__()
        self.models, self.shares = nn.ModuleList(models), nn.Buffer(shares)

    def forward(self, x: Tensor) -> Tensor:
        """Prepared inputs -> (B, K) logarithms, up to a constant."""
        each = torch.stack([model(x) for model in self.models])
        return (self.shares[:, None] * F.softmax(each, dim=2)).sum(0).clamp_min(1e-30).log()


class FedFTG(ServerAlgo):
    """A host's server, and a generator that looks for images on which its average is wrong."""

    Config: ClassVar[type] = FedFTGConfig
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "small": {"distil": {"ce": 5.0, "lr_decay": 0.7, "transfer": {"lr": 0.003}}},
        "released": {"distil": {"width": 64, "statistics": "update", "over_classes": "mean", "transfer": {"lr": 0.1}}},
    }
    reveals = "single models of every active client, number of examples, label counts once"

    def __init__(self, config: FedFTGConfig, context: ServerContext) -> None:
        super().__init__(config, context)
        self.host = find_server(config.host)(host_config(config), context)
        with context.streams.as_global("generator"):
            generator = make_generator(config.distil, context)
        self.generator: ConditionalGenerator = context.runtime.place(generator)
        self.counts = Slot()
        """client (as text) -> its label counts, asked for once."""
        self.judges: dict[str, nn.Module] = {}
        """Of the last round, where replies were taken: 'averaged', the model before it was fine-tuned, and 'ensemble',
        who teaches it."""

    @classmethod
    def client(cls, config: FedFTGConfig, context: ClientContext) -> ClientAlgo:
        return find_server(config.host).client(host_config(config), context)

    def configure(self, round: int, clients: Sequence[int]) -> dict[int, Payload]:
        messages = self.host.configure(round, clients)
        for client, message in messages.items():
            if str(client) not in self.counts.values:
                message.facts[ASK] = [LABELS]
        return messages

    def form(self, client: int) -> Form:
        form = self.host.form(client)
        if str(client) in self.counts.values:
            return form
        return Form({**form.parts, LABELS: labels_form(self.context.task.classes)}, form.facts)

    def check(self, client: int, round: int, reply: Payload) -> None:
        super().check(client, round, reply)
        self.host.check(client, round, of_host(reply))
        if LABELS in reply.parts:
            require_labels(reply.parts[LABELS][COUNTS], 0, reply.facts["examples"], "its number of examples")

    def outliers(self, replies: Mapping[int, Payload]) -> dict[int, str]:
        return self.host.outliers({client: of_host(reply) for client, reply in replies.items()})

    def aggregate(self, round: int, replies: Mapping[int, Payload]) -> dict[str, float]:
        for client, reply in replies.items():
            if LABELS in reply.parts:
                self.counts[str(client)] = reply.parts[LABELS][COUNTS]
        figures = self.host.aggregate(round, replies)
        counts = torch.stack([self.counts[str(client)] for client in replies])
        models = [self.model_of(reply) for reply in replies.values()]
        averaged = self.frozen(state_of(self.context.model))
        self.judges = {"averaged": averaged, "ensemble": ClassEnsemble(models, self.shares(counts))}
        if round < self.config.distil.warmup:
            return figures
        return figures | self.fine_tune(round, models, counts)

    def model_of(self, reply: Payload) -> nn.Module:
        """A client's model as it was sent, frozen and in eval mode."""
        return self.frozen(reply.parts[MODEL])

    def frozen(self, state: Mapping[str, Tensor]) -> nn.Module:
        module = duplicate(self.context.model)
        module.load_state_dict(state)
        return module.eval().requires_grad_(False)

    def shares(self, counts: Tensor) -> Tensor:
        """(S, K): how much each client teaches of each class; counts (S, K)."""
        shares = class_shares(counts).float()
        even = self.config.distil.ensemble == "even"
        return torch.full_like(shares, 1 / len(shares)) if even else shares

    def fine_tune(self, round: int, clients: Sequence[nn.Module], counts: Tensor) -> dict[str, float]:
        """Data-free distillation of the averaged model, in place. counts (S, K), a row per client."""
        context, settings, device = self.context, self.config.distil, self.context.runtime.device
        shares, streams = self.shares(counts), context.streams
        samples = settings.iterations * settings.transfer.batch
        labels = proportional_labels(samples, counts.sum(0), streams("labels"))
        decay = settings.lr_decay**round
        settings = settings.model_copy(update={
            "generator_lr": settings.generator_lr * decay,
            "transfer": settings.transfer.model_copy(update={"lr": settings.transfer.lr * decay}),
        })  # fmt: skip
        method = ServerDistillation.of(self.generator, clients, shares.to(device), labels)
        seed = int(torch.randint(2**62, (), generator=streams("session")))
        steps = settings.iterations * settings.distil_steps
        # The clients are asked one by one; the teacher stands for them where the engine wants a single one.
        teacher = Teacher(nn.ModuleList(clients), context.task)
        session = Session(method, settings, teacher, context.model, context.task, context.runtime, seed, steps)
        session.advance(settings.iterations + steps)
        counters = session.context.counters
        return {
            "samples": counters["samples"], "recognised": counters["recognised"] / counters["samples"],
            "teacher_forwards": counters["teacher_forwards"],
        }  # fmt: skip

    def other_models(self) -> dict[str, nn.Module]:
        return self.judges

    def forget_round(self) -> None:
        self.judges = {}

    def state(self) -> Mapping[str, Stateful]:
        host = {f"host.{name}": part for name, part in self.host.state().items()}
        return host | {"generator": self.generator, "counts": self.counts}


def of_host(reply: Payload) -> Payload:
    """What its host asked for of a reply."""
    return Payload({name: part for name, part in reply.parts.items() if name != LABELS}, reply.facts)


def host_config(config: FedFTGConfig) -> Any:
    """The host's settings. Raises ConfigError for a wrong one."""
    return federated_config(config.host, options=config.on)


def make_generator(settings: Distillation, context: ServerContext) -> ConditionalGenerator:
    """Deviation: width 'auto' is the released 64 on an accelerator; on a CPU the widest of 64, 32, 16, 8 that costs at
    most ten passes of the network that is trained: federated networks are tiny."""
    task, width = context.task, settings.width
    sizes = (64, 32, 16, 8) if width == "auto" else (width,)
    budget = 10 * multiply_adds(context.model, torch.zeros(2, *task.shape))
    for size in sizes:
        generator = ConditionalGenerator(settings.latent, task.classes, task.shape, size)
        affordable = context.runtime.device.type != "cpu" or size == sizes[-1]
        if affordable or multiply_adds(generator, torch.zeros(2, settings.latent + task.classes)) <= budget:
            return generator
    raise AssertionError("the narrowest is always taken")
