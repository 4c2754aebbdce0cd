"""FedFTG's distillation at the server as a method like any other: the engine's session makes its moves.

One iteration: a move `acquire` trains the generator against each client in turn; `distil_steps` moves `transfer` then
teach the averaged model on that generator's images. Shapes: S clients, B batch, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..contracts import Access, Batch, Forward, Losses, Outputs, Requirements, Stateful
from ..memory import Slot
from ..method import Context, Method
from ..models.generators import ConditionalGenerator
from ..models.modes import fixed
from ..network import Network
from ..objectives import logits as objectives
from ..objectives.diversity import mode_seeking
from ..objectives.federated import mixture, weighted_cross_entropy
from ..synthesis.generator import images_from
from .fedftg_settings import Distillation
from .local import freeze_statistics


class ServerDistillation(Method):
    """Made for one round by `of`."""

    Config: ClassVar[type] = Distillation
    generator: ClassVar[ConditionalGenerator]
    clients: ClassVar[Sequence[nn.Module]]
    shares: ClassVar[Tensor]
    labels: ClassVar[Tensor]

    @classmethod
    def of(
        cls, generator: ConditionalGenerator, clients: Sequence[nn.Module], shares: Tensor, labels: Tensor
    ) -> type[Method]:
        """The method for this round: clients frozen, shares (S, K), labels (iterations * batch,)."""
        return type("ServerDistillation", (cls,), {
            "generator": generator, "clients": clients, "shares": shares, "labels": labels,
        })  # fmt: skip

    def __init__(self, config: Distillation, context: Context) -> None:
        super().__init__(config, context)
        # Made anew every round, as released: Adam's moments do not outlive it.
        self.optimizer = torch.optim.Adam(self.generator.parameters(), lr=config.generator_lr)
        self.at = Slot(iteration=-1, transfers=config.distil_steps)
        self.batch: dict[str, Tensor] = {}

    @classmethod
    def requires(cls, config: Distillation) -> Requirements:
        return Requirements(Access.GRADIENTS)

    @classmethod
    def plan(cls, config: Distillation, steps: int) -> dict[str, int]:
        return {"acquire": steps // config.distil_steps, "transfer": steps}

    def next_move(self) -> str:
        return "acquire" if self.at["transfers"] == self.config.distil_steps else "transfer"

    def acquire(self) -> Losses:
        """The next labels and fresh noise, then generator_steps rounds of one Adam step per client."""
        config, context = self.config, self.context
        self.at["iteration"] += 1
        self.at["transfers"] = 0
        first = self.at["iteration"] * config.transfer.batch
        targets = self.labels[first : first + config.transfer.batch].to(context.runtime.device)
        noise = torch.randn(len(targets), config.latent, generator=context.streams("latents"))
        noise = noise.to(context.runtime.device)
        codes = torch.cat([noise, F.one_hot(targets, context.task.classes).float()], 1)
        losses = Losses()
        self.generator.train()
        with fixed(context.student):
            for _ in range(config.generator_steps):
                for client, share in zip(self.clients, self.shares):
                    losses = self.generator_losses(codes, noise, targets, client, share[targets])
                    losses.total().backward()
                    context.runtime.step(self.optimizer)
        self.keep(codes, targets)
        return losses

    def generator_losses(
        self, codes: Tensor, noise: Tensor, targets: Tensor, client: nn.Module, share: Tensor
    ) -> Losses:
        """What one client asks of the generator, share (B,) of each label: images on which the averaged model differs
        from it, that it takes for their label, and that differ from one another, as normalised."""
        config, context = self.config, self.context
        images = images_from(self.generator, codes, context)
        theirs = self._answers(client, images)
        losses = Losses()
        losses.add(
            "disagreement", -config.hard,
            lambda: share * objectives.l1(context.student_outputs(images).logits, theirs.detach()),
        )  # fmt: skip
        losses.add("ce", config.ce, lambda: weighted_cross_entropy(theirs[None], targets, share[None]))
        losses.add(
            "diversity", config.diversity / len(self.clients), lambda: mode_seeking(context.pixels(images), noise)
        )
        return losses

    def _answers(self, client: nn.Module, images: Tensor) -> Tensor:
        """(B, K) logits of one client's model, counted as a teacher's."""
        context, network = self.context, Network.of(client, self.context.task)
        return context.runtime.forward(network, images, counters=context.counters, name="teacher").logits

    def keep(self, codes: Tensor, targets: Tensor) -> None:
        """Images and the clients' weighted answer, once for all steps that learn from them."""
        context = self.context
        self.generator.eval()
        with torch.no_grad():
            images = images_from(self.generator, codes, context)
            answers = torch.stack([
                self._answers(client, images) for client in self.clients
            ])  # fmt: skip
            answer = mixture(answers, self.shares[:, targets])
        self.batch = {"images": images, "targets": targets, "answer": answer}
        context.counters.add("samples", len(images))
        context.counters.add("recognised", float((answer.argmax(1) == targets).sum()))

    def transfer_batch(self) -> Batch:
        self.at["transfers"] += 1
        if self.config.statistics == "frozen":
            freeze_statistics(self.context.student)
        drawn = self.batch
        return Batch(drawn["images"], targets=drawn["targets"], extras={"answer": drawn["answer"]})

    def student_loss(self, student: Forward, batch: Batch) -> Losses:
        losses, outputs = Losses(), student(batch.inputs)
        losses.add("match", 1, lambda: self.match(outputs, batch))
        return losses

    def match(self, outputs: Outputs, batch: Batch) -> Tensor:
        """(B,) cross-entropy with the clients' weighted answer, over all classes as `over_classes` says."""
        terms = 1 if self.config.over_classes == "sum" else self.context.task.classes
        return objectives.soft_cross_entropy(outputs.logits, batch.extras["answer"]) / terms

    def state(self) -> Mapping[str, Stateful]:
        return {"generator": self.generator, "optimizer": self.optimizer, "at": self.at, "batch": Slot(**self.batch)}
