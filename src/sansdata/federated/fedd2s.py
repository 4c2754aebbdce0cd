"""FedD2S (Atapour et al. 2024, arXiv 2402.10846), a **reconstruction**: the paper's abstract and a summary were read,
its equations were not. Clients show features and soft labels instead of weights; a head at the server turns them into
the labels that come back; the layer at which they meet moves from deep to shallow.

Ours: what a client uses in the end is its own blocks below the cut, the server's head above it, and its own shares of
the classes (`personal_head`). Its own layers above the cut only train it.

Shapes: n images of one upload, K classes, h the map after `cut` blocks. Blocks count from 1; the last child is the
predictor.

Ours: one message each way per round. A client is answered, in the round after, on what it uploaded; answers that belong
to an earlier cut are dropped, so the first round after each move is one of local training. The server may have missed
uploads, so answers name the round of theirs, and the client remembers of several rounds which images it showed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import pydantic
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from ..arithmetic import ceil_div
from ..contracts import Losses, Outputs, Stateful
from ..decoding import pixels
from ..errors import ConfigError, ReplyRefused, StudentError
from ..memory import Slot
from ..models.copying import duplicate
from ..models.modes import fixed
from ..network import Network
from ..objectives.logits import cross_entropy, soft_cross_entropy
from ..streams import Streams
from .aggregate import state_of
from .algo import COUNTS, LABELS, ClientAlgo, ClientContext, Memory, ServerAlgo, ServerContext
from .census import Census, Sizes
from .checks import MAX_EXAMPLES, Form, outliers
from .data import ClientData
from .fedavg import FedAvgConfig
from .local import LocalTraining
from .payload import Payload
from .personal_head import predictor_bias, put_head

FEATURES, HEAD, ANSWERS = "features", "head", "answers"
OWN = "model/"
"""Before the names, in a client's memory, of the tensors of its own network."""
IDS = "ids/"
"""Before the round, in a client's memory, of which of its images (n,) it showed then."""
UPLOADS = 8
"""Of which a client remembers the images: so many replies in a row may be lost or refused."""
FEATURES_RATIO = 30.0
"""As `checks.HARMLESS_RATIO`; personal blocks grow apart, to some ten times the median."""


class FedD2SConfig(FedAvgConfig):
    """cuts: after how many blocks, in the order they are used; empty: every boundary, deepest first. every: rounds
    per cut; None spreads the cuts over the first half of the run. upload: images per client and round; None: all.

    server_weight, client_weight: of the KL between heads (lambda_s, lambda_c); client_weight 0 is local training only.
    exchange: 'head' sends the head with the answers, and features pass through it; 'answers' sends soft labels only,
    and they are matched by the client's own upper layers, held still. personal: 'head' is the server's on the client's
    blocks, 'own' is the client's network throughout, as it is wherever no head was sent. warm: a head keeps its
    trained layers when the cut moves. feature_clip, feature_noise: bound on the norm of each image's features, and the
    deviation of Gaussian noise on them in units of that bound.
    """

    cuts: tuple[int, ...] = ()
    every: int | None = pydantic.Field(default=None, ge=1)
    upload: int | None = pydantic.Field(default=None, ge=1)
    temperature: float = pydantic.Field(default=1.0, gt=0)
    server_weight: float = pydantic.Field(default=1.0, ge=0)
    client_weight: float = pydantic.Field(default=1.0, ge=0)
    server_epochs: int = pydantic.Field(default=2, ge=1)
    server_lr: float = pydantic.Field(default=0.05, gt=0)
    server_batch: int = pydantic.Field(default=32, ge=1)
    exchange: Literal["head", "answers"] = "head"
    personal: Literal["head", "own"] = "head"
    warm: bool = True
    feature_clip: float | None = pydantic.Field(default=None, gt=0)
    feature_noise: float = pydantic.Field(default=0.0, ge=0)

    @pydantic.model_validator(mode="after")
    def _bounded(self) -> FedD2SConfig:
        if self.feature_noise and self.feature_clip is None:
            raise ValueError("feature_noise is in units of feature_clip, which is not set")
        return self

    @property
    def shares_head(self) -> bool:
        """Whether the personal models stand under the server's head."""
        return self.exchange == "head" and self.personal == "head"


def blocks_of(module: nn.Module) -> list[nn.Module]:
    """The network as a chain, the predictor last. Raises StudentError for one that is no chain."""
    parts = list(module.children())
    if not isinstance(module, nn.Sequential) or len(parts) < 2:
        raise StudentError(
            f"FedD2S cuts the network between blocks, and {type(module).__name__} is no torch.nn.Sequential of at "
            "least two; take cnn5 or fedgen-cnn, or a factory that gives one"
        )
    return parts


def run(parts: Sequence[nn.Module], x: Tensor) -> Tensor:
    for part in parts:
        x = part(x)
    return x


class FedD2SClient(ClientAlgo):
    """A model of its own that never leaves the client."""

    def __init__(self, config: FedD2SConfig, context: ClientContext) -> None:
        super().__init__(config, context)
        self.blocks = blocks_of(context.model)
        self.first = state_of(context.model)
        self.head = nn.Sequential(*blocks_of(duplicate(context.model).eval().requires_grad_(False)))
        if config.shares_head:
            predictor_bias(self.blocks, context.task.classes)

    def fit(self, payload: Payload, data: ClientData, memory: Memory, streams: Streams) -> Payload:
        self.recall(memory)
        context, facts = self.context, payload.facts
        training = LocalTraining(
            context.model, context.task, context.runtime, self.config.local, context.batch_norm != "frozen"
        )
        answered = self.answered(payload, memory) is not None and self.config.client_weight > 0

        def add_terms(losses: Losses, images: Tensor, targets: Tensor, outputs: Outputs) -> None:
            if answered:
                self.distil(losses, payload, data, memory, streams)

        training.run(data, facts["round"], streams, add_terms)
        memory |= {f"{OWN}{name}": value for name, value in state_of(context.model).items()}
        return Payload({FEATURES: self.upload(facts["round"], facts["cut"], data, memory, streams)})

    def answered(self, payload: Payload, memory: Memory) -> Tensor | None:
        """The images (n,) that the server's answers are of; None where there are no answers, or they are of an upload
        that is not remembered."""
        return memory.get(f"{IDS}{payload.facts['upload']}") if ANSWERS in payload.parts else None

    def distil(self, losses: Losses, payload: Payload, data: ClientData, memory: Memory, streams: Streams) -> None:
        """Adds T^2 KL(q || .), and CE where the head is there, on some of the images that were uploaded.

        The gradient reaches the blocks below the cut only.
        """
        config, context, cut = self.config, self.context, payload.facts["cut"]
        ids, answers = self.answered(payload, memory), payload.parts[ANSWERS]["q"]
        assert ids is not None
        drawn = torch.randint(len(ids), (config.local.batch,), generator=streams("answered"))
        place = context.runtime.place
        images, labels = place(pixels.unpack(data.images[ids[drawn]])), place(data.labels[ids[drawn]])
        h = run(self.blocks[:cut], _prepared(context, images))
        if config.exchange == "head":
            still = {f"{name}": place(value) for name, value in payload.parts[HEAD].items()}
            logits = _through(nn.Sequential(*list(self.head)[cut:]), still, h)
        else:
            own = nn.Sequential(*self.blocks[cut:])
            logits = _through(own, {name: value.detach() for name, value in own.state_dict().items()}, h)
        q, t = place(answers[drawn]), config.temperature
        # Without the entropy of q, which no gradient sees.
        losses.add("answer", config.client_weight * t**2, lambda: soft_cross_entropy(logits, q, t))
        if config.exchange == "head":
            losses.add("answer_ce", config.client_weight, lambda: cross_entropy(logits, labels))

    @torch.no_grad()
    def upload(self, round: int, cut: int, data: ClientData, memory: Memory, streams: Streams) -> dict[str, Tensor]:
        """Features (n, ...), labels (n,) and soft labels (n, K) of some of the client's images; remembers which."""
        config, context = self.config, self.context
        count = len(data) if config.upload is None else min(config.upload, len(data))
        ids = torch.randperm(len(data), generator=streams("upload"))[:count]
        with fixed(context.model):
            images = context.runtime.place(pixels.unpack(data.images[ids]))
            h = run(self.blocks[:cut], _prepared(context, images))
            soft = F.softmax(run(self.blocks[cut:], h) / config.temperature, dim=1)
        if config.feature_clip is not None:
            norms = h.flatten(1).norm(dim=1).clamp_min(1e-12).view(-1, *[1] * (h.ndim - 1))
            h = h * (config.feature_clip / norms).clamp_max(1.0)
            noise = torch.randn(h.shape, generator=streams("feature-noise")).to(h.device)
            h = h + config.feature_noise * config.feature_clip * noise
        memory[f"{IDS}{round}"] = ids
        uploads = sorted((name for name in memory if name.startswith(IDS)), key=lambda name: int(name[len(IDS) :]))
        for name in uploads[:-UPLOADS]:
            del memory[name]
        return {"h": h.cpu().contiguous(), "y": data.labels[ids].to(torch.int32), "p": soft.cpu()}

    def recall(self, memory: Memory) -> None:
        """The client's own network into the work space; before its first round the common start."""
        self.context.model.load_state_dict({
            name: memory.get(f"{OWN}{name}", value) for name, value in self.first.items()
        })  # fmt: skip

    def personalise(self, payload: Payload, data: ClientData, memory: Memory, streams: Streams) -> None:
        """The client's own network, under the head that the server sent, if any."""
        self.recall(memory)
        if self.config.shares_head and HEAD in payload.parts:
            counts = data.counts(self.context.task.classes)
            put_head(self.blocks, payload.facts["head"], payload.parts[HEAD], counts, payload.parts[LABELS][COUNTS])


def _prepared(context: ClientContext, images: Tensor) -> Tensor:
    """images (B, C, H, W) in unit space as the first block takes them."""
    prepared = Network.of(context.model, context.task).preprocessor(images)
    assert isinstance(prepared, Tensor)
    return prepared


def _through(parts: nn.Sequential, tensors: Mapping[str, Tensor], x: Tensor) -> Tensor:
    """x through `parts` with these weights in eval mode; gradients flow to x, not to the weights."""
    modes = parts.training
    parts.eval()
    try:
        return functional_call(parts, dict(tensors), (x,))
    finally:
        parts.train(modes)


class FedD2S(ServerAlgo):
    """Heads that turn features into labels, in `context.model`: what lies above the cut is the head."""

    Config: ClassVar[type] = FedD2SConfig
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "small": {"every": 1, "server_epochs": 5, "server_lr": 0.02, "server_weight": 0.3, "client_weight": 0.3},
    }  # fmt: skip
    has_global_model = False
    reveals = "features, labels and soft labels of single images; shallow features can be inverted to images"

    def __init__(self, config: FedD2SConfig, context: ServerContext) -> None:
        super().__init__(config, context)
        self.blocks = blocks_of(context.model)
        deepest = len(self.blocks) - 1
        self.cuts = config.cuts or tuple(range(deepest, 0, -1))
        wrong = [cut for cut in self.cuts if not 1 <= cut <= deepest]
        if wrong:
            raise ConfigError(f"cuts: {wrong[0]} is no place in a network of {deepest} blocks and a predictor")
        self.every = config.every or max(1, context.rounds // (2 * len(self.cuts)))
        self.first = state_of(context.model)
        self.answers = Slot()
        """client (as text) -> {'cut': int, 'round': int, 'q': (n, K)} of the last upload that was taken."""
        self.at = Slot(cut=self.cuts[0])
        """'cut' of the present round; 'head', the cut above which the head was trained last, and 'labels' (K,), of how
        many images of each class."""
        self.examples, self.census = Sizes(), Census()

    @classmethod
    def client(cls, config: Any, context: ClientContext) -> ClientAlgo:
        return FedD2SClient(config, context)

    def cut_at(self, round: int) -> int:
        return self.cuts[min(round // self.every, len(self.cuts) - 1)]

    def configure(self, round: int, clients: Sequence[int]) -> dict[int, Payload]:
        self.at["cut"] = cut = self.cut_at(round)
        messages = {}
        for client in clients:
            message = Payload(facts={"round": round, "cut": cut})
            kept = self.answers.values.get(str(client))
            if kept is not None and kept["cut"] == cut:
                message.parts[ANSWERS] = {"q": kept["q"]}
                message.facts["upload"] = kept["round"]
                if self.config.exchange == "head":
                    self.send_head(message, cut)
            elif self.config.shares_head and "head" in self.at.values:
                self.send_head(message, self.at["head"])
            messages[client] = message
        return messages

    def send_head(self, message: Payload, cut: int) -> None:
        """The head above this cut, and with it what a client needs to make it its own."""
        message.parts[HEAD] = state_of(self.head(cut))
        if self.config.shares_head:
            message.facts["head"] = cut
            message.parts[LABELS] = {COUNTS: self.at["labels"]}

    def head(self, cut: int) -> nn.Sequential:
        """The layers above the cut, shared with `context.model`."""
        return nn.Sequential(*self.blocks[cut:])

    def form(self, client: int) -> Form:
        task, cut = self.context.task, self.at["cut"]
        with torch.no_grad(), fixed(self.context.model):
            device = self.context.runtime.device
            shape = tuple(run(self.blocks[:cut], torch.zeros(1, *task.shape, device=device)).shape[1:])
        parts = {
            "h": ((-1, *shape), torch.float32), "y": ((-1,), torch.int32), "p": ((-1, task.classes), torch.float32),
        }  # fmt: skip
        return Form({FEATURES: parts}, longest=self.uploads(self.examples.get(client, MAX_EXAMPLES)))

    def uploads(self, examples: int) -> int:
        """Images of which a client with so many shows features."""
        return examples if self.config.upload is None else min(self.config.upload, examples)

    def check(self, client: int, round: int, reply: Payload) -> None:
        super().check(client, round, reply)
        h, y, p = (reply.parts[FEATURES][name] for name in ("h", "y", "p"))
        most, classes = self.uploads(self.examples.require(client, reply)), self.context.task.classes
        if not len(h) == len(y) == len(p) == most:
            raise ReplyRefused(f"{len(h)} features, {len(y)} labels and {len(p)} soft labels, expected {most} of each")
        if not 0 <= int(y.min()) <= int(y.max()) < classes:
            raise ReplyRefused(f"labels from {int(y.min())} to {int(y.max())}, of {classes} classes")
        if float(p.min()) < 0 or float((p.sum(1) - 1).abs().max()) > 1e-3:
            raise ReplyRefused("its soft labels are no probabilities")
        self.census.require(client, torch.bincount(y, minlength=classes), reply.facts["examples"])

    def outliers(self, replies: Mapping[int, Payload]) -> dict[int, str]:
        """The longest feature of each client; features whose numbers are 1 on average harm nobody."""
        features = {client: reply.parts[FEATURES]["h"].flatten(1) for client, reply in replies.items()}
        longest = {client: float(h.norm(dim=1).max()) for client, h in features.items()}
        return outliers(
            "longest feature", longest, max(h.shape[1] for h in features.values()) ** 0.5, ratio=FEATURES_RATIO
        )

    def aggregate(self, round: int, replies: Mapping[int, Payload]) -> dict[str, float]:
        """Trains the head on all uploads of the round, then answers each client on its own."""
        cut, place = self.at["cut"], self.context.runtime.place
        uploads = {client: reply.parts[FEATURES] for client, reply in replies.items()}
        union = {name: torch.cat([one[name] for one in uploads.values()]) for name in ("h", "y", "p")}
        for client, one in uploads.items():
            self.examples.keep(client, replies[client])
            self.census.keep(client, torch.bincount(one["y"], minlength=self.context.task.classes))
        if cut != self.at.values.get("head", cut) and not self.config.warm:
            self.context.model.load_state_dict(self.first)
        last = self.train_head(cut, union)
        self.at["head"] = cut
        self.at["labels"] = torch.bincount(union["y"], minlength=self.context.task.classes).to(torch.int32)
        head = self.head(cut)
        with torch.no_grad(), fixed(head):
            for client, one in uploads.items():
                q = F.softmax(head(place(one["h"])) / self.config.temperature, dim=1)
                self.answers[str(client)] = {"cut": cut, "round": round, "q": q.cpu()}
        return last | {"cut": cut}

    def train_head(self, cut: int, union: Mapping[str, Tensor]) -> dict[str, float]:
        """server_epochs of SGD on CE and server_weight * T^2 * KL(p || head); gives the last losses."""
        config, context, head = self.config, self.context, self.head(cut).train()
        optimizer = torch.optim.SGD(head.parameters(), lr=config.server_lr, momentum=0.9)
        place, t = context.runtime.place, config.temperature
        order = ClientData(torch.zeros(len(union["y"]), 1, 1, 1, dtype=torch.uint8), torch.arange(len(union["y"])))
        steps = config.server_epochs * ceil_div(len(order), config.server_batch)
        losses = Losses()
        for _, ids in order.batches(steps, config.server_batch, context.streams("head")):
            h, y, p = (place(union[name][ids]) for name in ("h", "y", "p"))
            logits, losses = head(h), Losses()
            losses.add("head_ce", 1, lambda logits=logits, y=y: cross_entropy(logits, y.long()))
            losses.add(
                "head_match", config.server_weight * t**2, lambda logits=logits, p=p: soft_cross_entropy(logits, p, t)
            )
            losses.total().backward()
            context.runtime.step(optimizer)
        return {name: float(value) for name, value in losses.values().items()}

    def state(self) -> Mapping[str, Stateful]:
        return {
            "heads": self.context.model, "answers": self.answers, "at": self.at,
            "examples": self.examples, "census": self.census,
        }  # fmt: skip
