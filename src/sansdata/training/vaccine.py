"""Shuffling vaccine: a defence against a poisoned teacher (Hong et al., ICML 2023, arXiv 2306.02368).

"Released" is illidanlab/ABD, cmi/datafree/synthesis/syn_vaccine.py.

Samples whose class survives a shuffle of the teacher's channels are suspicious: they may show a trigger. Where the
inputs are made by gradients, these are pushed away from there; where they are given, such samples count against.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .. import columns
from ..arithmetic import ceil_div
from ..columns import Inputs
from ..contracts import Access, Batch, Losses, Outputs, Requirements, Stateful
from ..errors import MethodError
from ..kinds.index import input_kind
from ..memory import Slot
from ..method import Context
from ..models.device import device_of
from ..models.taps import execution_order
from ..objectives.logits import kl
from ..settings import VaccineSettings
from ..teachers.base import Teacher

WATCHED = 32
"""How many images of each batch are kept for the verification."""


class Vaccine:
    """The shuffled copies, and whether they are believed yet."""

    def __init__(self, settings: VaccineSettings, context: Context) -> None:
        """Raises MethodError for a teacher that `unmet_by_vaccine` speaks of."""
        reasons = unmet_by_vaccine(context.teacher)
        if reasons:
            raise MethodError("the vaccine cannot work with this teacher: " + "; ".join(reasons))
        self.settings, self.context = settings, context
        self.copies = ShuffledCopies(context, settings.copies, settings.layers)
        self.copies.shuffle()
        self.verification = Slot(watched=0, images=[], logits=[], on=settings.verify == 0, trials=0)
        self.requests = 0
        """How often an acquire loss has asked for the term; for the session, which sees to it that none forgets."""

    @property
    def on(self) -> bool:
        return self.verification["on"]

    def add_to(self, losses: Losses, inputs: Inputs, outputs: Outputs) -> None:
        """Adds the term 'vaccine': suspicious images are to move to where the copies differ from the teacher."""
        self.requests += 1
        if self.on:
            shuffled = self.copies(inputs)
            self._count(suspicious(outputs.logits, shuffled))
            losses.add("vaccine", self.settings.weight, lambda: vaccine(outputs.logits, shuffled))

    def guard(self, losses: Losses, batch: Batch) -> Losses:
        """Every term of a loss per sample, with the suspicious samples counted against (`trusted`).

        Raises MethodError for a term that is already a mean.
        """
        if not self.on:
            return losses
        with torch.no_grad():
            distrusted = suspicious(batch.answers().logits, self.copies(batch.images))
        self._count(distrusted)
        guarded, settings = Losses(), self.settings
        for name, (weight, value) in losses.terms.items():
            if value.ndim == 0:
                raise MethodError(
                    f"the vaccine weighs samples, and this method's loss '{name}' is one number for a whole batch; "
                    "use defence=retrospect"
                )
            first = slice(len(value))  # a term may be of the first inputs only
            weights = None if batch.weights is None else batch.weights[first]
            guarded.add(
                name, weight,
                lambda v=value, w=weights, d=distrusted[first]: trusted(v, d, settings.weight, settings.cap, w),
            )  # fmt: skip
        return guarded

    def _count(self, distrusted: Tensor) -> None:
        counters = self.context.counters
        counters.add("vaccine_judged", len(distrusted))
        counters.add("vaccine_suspicious", int(distrusted.sum()))

    # -- verification

    def watch(self, batch: Batch) -> None:
        """Keeps some images of the first `verify` batches, then looks for a shuffle that tells them apart; later draws
        a new one every `renew` student steps.

        Deviation: 32 images of each batch that the student learns from; the released code keeps every batch that the
        generator makes. What is watched is then the same for every method, and small enough for a checkpoint.
        """
        settings, trial, steps = self.settings, self.verification, self.context.progress.steps
        if self.on and settings.renew and steps and steps % settings.renew == 0:
            self.copies.shuffle()
        if self.on or trial["watched"] >= settings.verify:
            return
        trial["watched"] += 1
        if trial["watched"] > settings.skip:
            trial["images"].append(batch.images[:WATCHED].detach().clone())
            trial["logits"].append(batch.answers().logits[:WATCHED].detach().clone())
        if trial["watched"] == settings.verify:
            self._choose(torch.cat(trial["images"]), torch.cat(trial["logits"]))
            trial["images"], trial["logits"] = [], []

    def _choose(self, images: Tensor, logits: Tensor) -> None:
        """Shuffles anew until a share of outliers shows that the copies find some samples far more alike than most.

        Where none does, the vaccine stays off for the run.
        """
        settings, trial = self.settings, self.verification
        while trial["trials"] < settings.trials:
            if trial["trials"]:
                self.copies.shuffle()
            trial["trials"] += 1
            with torch.no_grad():
                far = outliers(divergence(logits, self.copies(images)))
            outlying, count = self.context.runtime.sum([float(far.sum()), len(far)])
            if outlying > settings.tail * count:
                trial["on"] = True
                return

    def findings(self) -> list[str]:
        """What the user should know at the end of a run."""
        settings, trial, judged = self.settings, self.verification, self.context.counters["vaccine_judged"]
        if self.on:
            share = self.context.counters["vaccine_suspicious"] / max(1, judged)
            if share > 0.9:
                return [
                    f"{share:.0%} of the samples survived the shuffle: it does not tell them apart (vaccine.layers)"
                ]
            return []
        if trial["watched"] < settings.verify:
            return [f"the vaccine never set in: the run ended before vaccine.verify={settings.verify} batches"]
        return [f"the vaccine never set in: none of {settings.trials} shuffles passed the verification"]

    def state(self) -> Mapping[str, Stateful]:
        return {"copies": self.copies, "verification": self.verification}


class ShuffledCopies:
    """Copies of the teacher in which the input channels of its last convolutions are in random order.

    Everything else, BatchNorm and linear layers too, stays. Called with images (B, C, H, W) in unit space: the mean of
    the copies' logits (B, K).
    """

    def __init__(self, context: Context, copies: int, layers: int) -> None:
        """layers: of the last convolutions, in the order in which they run.

        Deviation: at most half of the teacher's (rounded up), because 5, meant for 16 or more, is all that a small net
        has; and grouped convolutions are left out, whose weights have no axis of all input channels. The released code
        takes the last names with 'conv' in them, in the order of registration.
        """
        self.context = context
        convolutions = shuffled_layers(context.teacher)
        self.layers = convolutions[-min(layers, ceil_div(len(convolutions), 2)) :]
        self.modules = [copy.deepcopy(context.teacher.inside.module) for _ in range(copies)]
        self.orders: list[list[Tensor]] = []

    def shuffle(self) -> None:
        """Draws all orders anew, the same on every process."""
        stream = self.context.streams("vaccine", shared=True)
        widths = [_conv(self.context.teacher.inside.module, layer).in_channels for layer in self.layers]
        self._apply([[torch.randperm(width, generator=stream) for width in widths] for _ in self.modules])

    @torch.no_grad()
    def _apply(self, orders: list[list[Tensor]]) -> None:
        self.orders = orders
        for module, own in zip(self.modules, orders, strict=True):
            for layer, order in zip(self.layers, own, strict=True):
                weight = _conv(self.context.teacher.inside.module, layer).weight
                _conv(module, layer).weight.copy_(weight[:, order.to(weight.device)])

    def __call__(self, inputs: Inputs) -> Tensor:
        context, network = self.context, self.context.teacher.network
        answers = [
            context.runtime.forward(network.around(module), inputs, (), context.counters, "vaccine").logits
            for module in self.modules
        ]
        return torch.stack(answers).mean(0)

    def state_dict(self) -> dict[str, Any]:
        return {"orders": self.orders}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._apply([[order.cpu() for order in own] for own in state["orders"]])


def _conv(module: nn.Module, path: str) -> nn.Conv2d:
    layer = module.get_submodule(path)
    assert isinstance(layer, nn.Conv2d)
    return layer


def shuffled_layers(teacher: Teacher) -> list[str]:
    """Paths of the convolutions whose input channels can change places, in the order in which they run."""
    kind = input_kind(teacher.task)
    device = device_of(teacher.module)
    probe = teacher.network.preprocessor(columns.to(kind.draw(2, torch.Generator().manual_seed(0)), device))
    ran = execution_order(
        teacher.module,
        probe,
        lambda part: isinstance(part, nn.Conv2d) and part.groups == 1 and part.in_channels > 1,
    )
    return list(dict.fromkeys(path for path, _ in ran))


def unmet_by_vaccine(teacher: Teacher) -> list[str]:
    """Why the vaccine cannot work with this teacher; empty where it can."""
    if reason := Requirements().unmet_by(teacher.task.pair):
        return [reason]
    if len(teacher.members) > 1:
        return [f"it shuffles one network, and this teacher is {len(teacher.members)}"]
    if teacher.access < Access.WEIGHTS:
        return [f"it shuffles the teacher's weights, and this teacher gives no more than {teacher.access.name}"]
    if teacher.shares is not None:
        return ["it copies the teacher, and this one is shared out (teacher_shards)"]
    if not shuffled_layers(teacher):
        return ["it shuffles the input channels of convolutions, and none with two or more was found"]
    return []


# -- what it asks of a batch: logits and shuffled are (B, K), the answers of the teacher and of its shuffled copies


def suspicious(logits: Tensor, shuffled: Tensor) -> Tensor:
    """(B,) bool: whether the copies still say the same class.

    A trigger fires through a few channels and survives the shuffle; what many channels agree on does not.
    """
    return logits.argmax(1) == shuffled.argmax(1)


def divergence(logits: Tensor, shuffled: Tensor) -> Tensor:
    """(B,) d = KL(teacher || copies), the mean over classes of its terms and not their sum. Gradients through both."""
    return kl(shuffled, logits) / logits.shape[1]


def vaccine(logits: Tensor, shuffled: Tensor) -> Tensor:
    """-mean of the divergence over the suspicious samples, a scalar; 0 where there are none.

    To be minimised by what makes the images: suspicious ones move to where teacher and copies differ.
    """
    chosen = suspicious(logits, shuffled)
    return -(chosen * divergence(logits, shuffled)).sum() / chosen.sum().clamp_min(1)


def trusted(loss: Tensor, distrusted: Tensor, weight: float, cap: float, weights: Tensor | None = None) -> Tensor:
    """Mean of loss (B,) over the samples that are not `distrusted` (B,) less `weight` times its mean over the others.

    weights (B,): of the samples in both means. A mean over none is 0, so a batch of nothing but distrusted samples
    teaches nothing.

    Deviation: the released term is not bounded and diverges where many samples are distrusted; here such a sample
    counts until its loss is `cap` times the mean of the trusted ones.
    """
    weights = torch.ones_like(loss) if weights is None else weights
    keep = _mean(loss, weights * ~distrusted)
    held = torch.minimum(loss, cap * keep.detach())
    return keep - weight * _mean(held, weights * distrusted)


def _mean(values: Tensor, weights: Tensor) -> Tensor:
    return (values * weights).sum() / weights.sum().clamp_min(1e-12)


def outliers(divergences: Tensor) -> Tensor:
    """(B,) bool: whose log divergence is more than three standard deviations below the mean (vaccine verification)."""
    logs = divergences.clamp_min(1e-12).log10()
    return logs < logs.mean() - 3 * logs.std()
