"""FedGen (Zhu, Hong & Zhou, ICML 2021, arXiv 2105.10056): the server learns features by class from the clients' last
layers; clients learn from these features beside their own images.

Shapes: S clients that answered, B batch, K classes, D length of the feature vector that enters the last layer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import pydantic
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..arithmetic import ceil_div
from ..contracts import Losses, Outputs, Stateful
from ..memory import Slot
from ..objectives.diversity import mode_seeking
from ..objectives.federated import class_shares, ensemble_cross_entropy, weighted_cross_entropy
from ..objectives.logits import cross_entropy, kl
from ..streams import Streams
from ..synthesis.labels import labels_by_weight
from ..tasks import Task
from ..teachers.base import head_of
from .aggregate import state_of
from .algo import COUNTS, LABELS, ClientAlgo, ClientContext, Memory, ServerContext, labels_form, require_labels
from .census import Census
from .checks import Form, form_of
from .data import ClientData
from .fedavg import MODEL, FedAvg, FedAvgClient, FedAvgConfig
from .payload import Payload

GENERATOR, PRIOR = "generator", "prior"
LACK = "and FedGen makes the features that enter it"


class FedGenConfig(FedAvgConfig):
    """Defaults are those of the released code for MNIST, but for Gaussian noise, which paper and comment say, and for
    `label_weights`.

    teach, latent: weights at the clients, of CE on generated features and of the KL to the answer on a feature
    generated for the image's label; both fall by `decay` per round, not below `floor`. teaching: the generator is
    judged by each client's head on its own ('per-client', released) or by the mean of their logits ('ensemble', eq. 4).
    label_weights: of a client's own judgement, its share of each label's images ('own'), or the mean of these over the
    batch ('mean'), which is what the release's broadcast of (B,) by (B, 1) leaves of them.
    sampled: labels for the clients, 'even' over those that anyone has shown (released) or by their counts ('prior').
    generator_steps: per round; 0 leaves the generator as it was born, the ablation that must hurt. diversity: weight of
    the generator's spread. batch: of generated features, at clients and server.
    """

    teach: float = pydantic.Field(default=10.0, ge=0)
    latent: float = pydantic.Field(default=10.0, ge=0)
    decay: float = pydantic.Field(default=0.98, gt=0, le=1)
    floor: float = pydantic.Field(default=1e-4, ge=0)
    teaching: Literal["per-client", "ensemble"] = "per-client"
    label_weights: Literal["own", "mean"] = "own"
    sampled: Literal["even", "prior"] = "even"
    noise: Literal["gaussian", "uniform"] = "gaussian"
    noise_size: int = pydantic.Field(default=32, ge=1)
    hidden: int = pydantic.Field(default=256, ge=1)
    batch: int = pydantic.Field(default=32, ge=2)
    generator_steps: int = pydantic.Field(default=50, ge=0)
    generator_lr: float = pydantic.Field(default=3e-4, gt=0)
    generator_lr_decay: float = pydantic.Field(default=0.98, gt=0, le=1)
    generator_weight_decay: float = pydantic.Field(default=1e-2, ge=0)
    diversity: float = pydantic.Field(default=1.0, ge=0)

    def weight(self, first: float, round: int) -> float:
        """What is left in this round of a weight; one that is 0 stays 0."""
        return max(self.floor, first * self.decay**round) if first else 0.0

    def draw_noise(self, count: int, generator: torch.Generator) -> Tensor:
        """(count, noise_size)."""
        draw = torch.randn if self.noise == "gaussian" else torch.rand
        return draw(count, self.noise_size, generator=generator)


class FedGenClient(FedAvgClient):
    """Real images, and features from the server's generator; only the client's model takes a step."""

    def __init__(self, config: FedGenConfig, context: ClientContext) -> None:
        super().__init__(config, context)
        self.head: Any = context.model.get_submodule(head_of(context.model, context.task, LACK))
        self.generator = make_generator(config, context.task, self.head)

    def fit(self, payload: Payload, data: ClientData, memory: Memory, streams: Streams) -> Payload:
        self.receive(payload, memory)
        self.generator.load_state_dict(payload.parts[GENERATOR])
        self.generator.eval()
        config, round = self.config, payload.facts["round"]
        prior = payload.parts[LABELS][PRIOR]
        # No terms in the first round: the generator has met no client yet.
        teach = config.weight(config.teach, round) * config.batch / config.local.batch if round else 0.0
        latent = config.weight(config.latent, round) if round else 0.0

        def add_terms(losses: Losses, images: Tensor, targets: Tensor, outputs: Outputs) -> None:
            losses.add("teach", teach, lambda: self.teach(prior, streams))
            losses.add("latent", latent, lambda: self.latent(targets, outputs, streams))

        label_counts = self.train(payload, data, streams, add_terms)
        return Payload({MODEL: self.give(memory), LABELS: {COUNTS: label_counts + 1}})

    def teach(self, prior: Tensor, streams: Streams) -> Tensor:
        """(B,) CE of the predictor on generated features."""
        labels = labels_by_weight(self.config.batch, prior, streams("labels"))
        return cross_entropy(self.head(self.generate(labels, streams)), labels.to(self.head.weight.device))

    def latent(self, targets: Tensor, outputs: Outputs, streams: Streams) -> Tensor:
        """(B,) KL to the answer on a feature generated for the image's label (released code only)."""
        with torch.no_grad():
            answer = self.head(self.generate(targets.cpu(), streams))
        return kl(outputs.logits, answer)

    @torch.no_grad()
    def generate(self, labels: Tensor, streams: Streams) -> Tensor:
        """(B, D) features for labels (B,)."""
        noise = self.config.draw_noise(len(labels), streams("noise"))
        device = self.head.weight.device
        return self.generator(noise.to(device), labels.to(device))


def make_generator(config: FedGenConfig, task: Task, head: Any) -> LatentGenerator:
    made = LatentGenerator(config.noise_size, task.classes, config.hidden, head.in_features)
    return made.to(head.weight.device)


class FedGen(FedAvg):
    """Trains the generator against the clients' fresh heads, then averages their models."""

    Config: ClassVar[type] = FedGenConfig
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "released": {"noise": "uniform", "label_weights": "mean"},
        # Deviation: models are averaged by their numbers of images here too; the paper writes a plain mean.
        "paper": {"teach": 1.0, "latent": 0.0, "decay": 1.0, "teaching": "ensemble", "sampled": "prior"},
    }
    reveals = "single models of every active client, number of examples, label counts of every round"

    def __init__(self, config: FedGenConfig, context: ServerContext) -> None:
        super().__init__(config, context)
        self.path = head_of(context.model, context.task, LACK)
        with context.streams.as_global("generator"):
            self.generator = make_generator(config, context.task, context.model.get_submodule(self.path))
        self.optimizer = torch.optim.Adam(
            self.generator.parameters(), lr=config.generator_lr, weight_decay=config.generator_weight_decay
        )
        self.known = Slot(counts=torch.zeros(context.task.classes, dtype=torch.int64))
        """(K,): images of each class that were trained on in all rounds so far."""
        self.census = Census()

    @classmethod
    def client(cls, config: Any, context: ClientContext) -> ClientAlgo:
        return FedGenClient(config, context)

    def configure(self, round: int, clients: Sequence[int]) -> dict[int, Payload]:
        messages, generator = super().configure(round, clients), state_of(self.generator)
        for message in messages.values():
            message.parts |= {GENERATOR: dict(generator), LABELS: {PRIOR: self.prior()}}
        return messages

    def form(self, client: int) -> Form:
        return Form({MODEL: form_of(self.sent), LABELS: labels_form(self.context.task.classes)})

    def check(self, client: int, round: int, reply: Payload) -> None:
        """Counts begin at 1 for each label; the rest are the images of the client's mini-batches, which go through all
        of its images again and again: what it once had of a class it has in every round."""
        super().check(client, round, reply)
        expected = self.seen(reply) + self.context.task.classes
        require_labels(reply.parts[LABELS][COUNTS], 1, expected, "what it trained on and one for each class")
        self.census.require(client, self.fewest(reply), reply.facts["examples"])

    def fewest(self, reply: Payload) -> Tensor:
        """(K,): the fewest images of each class with which a client can have counted so."""
        passes = ceil_div(self.seen(reply), reply.facts["examples"])
        return (reply.parts[LABELS][COUNTS].long() - 1 + passes - 1) // passes

    def seen(self, reply: Payload) -> int:
        """Images in the mini-batches of this client's round."""
        return self.config.local.steps_for(reply.facts["examples"]) * self.config.local.batch

    def aggregate(self, round: int, replies: Mapping[int, Payload]) -> dict[str, float]:
        counts = torch.stack([reply.parts[LABELS][COUNTS] for reply in replies.values()])
        self.known["counts"] = self.known["counts"] + (counts - 1).sum(0)  # each client's began at 1
        for client, reply in replies.items():
            self.census.keep(client, self.fewest(reply))
        figures = self.train_generator(round, Heads(replies, self.path, self.context.runtime.device), counts)
        return super().aggregate(round, replies) | figures

    def prior(self) -> Tensor:
        """(K,) p(y) for the clients, over all labels that anyone has shown yet: also those that none of the next
        round's clients has, which is what keeps them from forgetting. Even before the first round."""
        return self.weigh(self.known["counts"] if bool(self.known["counts"].any()) else self.known["counts"] + 1)

    def weigh(self, counts: Tensor) -> Tensor:
        """(K,) label probabilities from counts (K,), by `sampled`."""
        weights = counts.float() if self.config.sampled == "prior" else (counts > 0).float()
        return weights / weights.sum()

    def train_generator(self, round: int, heads: Heads, counts: Tensor) -> dict[str, float]:
        """generator_steps steps of Adam on labels that this round's clients have; their heads stay as they are. counts
        (S, K) began at 1. Gives the last losses, and the share of the last batch that the ensemble of heads takes for
        what it was made as."""
        config, streams, device = self.config, self.context.streams, self.context.runtime.device
        self.optimizer.param_groups[0]["lr"] = config.generator_lr * config.generator_lr_decay**round
        shares = class_shares(counts).float().to(device)
        drawn = self.weigh((counts - 1).sum(0))
        figures: dict[str, float] = {}
        self.generator.train()
        for step in range(config.generator_steps):
            labels = labels_by_weight(config.batch, drawn, streams("generator-labels"))
            noise = config.draw_noise(config.batch, streams("generator-noise")).to(device)
            labels = labels.to(device)
            features = self.generator(noise, labels)
            logits, losses = heads(features), Losses()
            if config.teaching == "ensemble":
                losses.add("teach", 1, lambda logits=logits, labels=labels: ensemble_cross_entropy(logits, labels))
            else:
                weights = label_weights(shares, labels, config.label_weights)
                losses.add(
                    "teach",
                    1,
                    lambda logits=logits, labels=labels, w=weights: weighted_cross_entropy(logits, labels, w),
                )
            losses.add("diversity", config.diversity, lambda x=features, z=noise: mode_seeking(x, z))
            losses.total().backward()
            self.context.runtime.step(self.optimizer)
            if step == config.generator_steps - 1:
                mixed = (counts.to(device).sum(1)[:, None, None] * logits.detach()).sum(0)
                figures = {name: float(value) for name, value in losses.values().items()}
                figures["generator_accuracy"] = float((mixed.argmax(1) == labels).float().mean())
        return figures

    def state(self) -> Mapping[str, Stateful]:
        return {
            **super().state(), "generator": self.generator, "optimizer": self.optimizer, "known": self.known,
            "census": self.census,
        }  # fmt: skip


def label_weights(shares: Tensor, labels: Tensor, how: Literal["own", "mean"]) -> Tensor:
    """(S, B): what each client's judgement of labels (B,) counts for; shares (S, K) of the images of a class."""
    weights = shares[:, labels]
    return weights if how == "own" else weights.mean(1, keepdim=True).expand_as(weights)


class Heads:
    """The predictors of a round's clients, frozen: features (B, D) -> logits (S, B, K)."""

    def __init__(self, replies: Mapping[int, Payload], path: str, device: torch.device) -> None:
        models = [reply.parts[MODEL] for reply in replies.values()]
        self.weights = torch.stack([model[f"{path}.weight"] for model in models]).to(device)
        biases = [model.get(f"{path}.bias") for model in models]
        zero = torch.zeros(self.weights.shape[1])
        self.biases = torch.stack([zero if bias is None else bias for bias in biases]).to(device)

    def __call__(self, features: Tensor) -> Tensor:
        return torch.stack([F.linear(features, w, b) for w, b in zip(self.weights, self.biases)])


class LatentGenerator(nn.Module):
    """noise (B, E) and labels (B,) -> latents (B, D). Linear, BatchNorm, ReLU, Linear (FedGen, released code).

    Latents are not bounded; weight decay is what keeps them near.
    """

    def __init__(self, noise: int, classes: int, hidden: int, latent: int) -> None:
        super().__init__()
        self.classes = classes
        self.hidden = nn.Linear(noise + classes, hidden)
        self.norm = nn.BatchNorm1d(hidden)
        self.out = nn.Linear(hidden, latent)

    def forward(self, noise: Tensor, labels: Tensor) -> Tensor:
        joined = torch.cat([noise, F.one_hot(labels, self.classes).to(noise.dtype)], 1)
        return self.out(F.relu(self.norm(self.hidden(joined))))
