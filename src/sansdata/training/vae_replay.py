"""Generative replay (PRE-DFKD, Binici et al., AAAI 2022, 2201.03019): a VAE that learns to make what it was shown.

It stores no image. It is shown half of each new batch together with what it has just replayed, so that it forgets
slowly, and is asked that both the pixels and the teacher's answers come back. "Released" is kuluhan/PRE-DFKD, commit
604010d.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ..contracts import Batch, Losses, Stateful
from ..memory import Slot
from ..method import Context
from ..models.modes import fixed
from ..objectives import class_priors, logits
from ..settings import RetainSettings
from ..synthesis.generator import affordable_width, images_from, latents
from .vae import VAE, normal_kl

PRIOR = 1e-5
"""The weight of the KL to the standard normal (released)."""
SHOWN = 0.5
"""The share of a new batch that the autoencoder is shown (released)."""


class VAEReplay:
    """Learns in the first student steps after each acquisition; replays from standard normal codes, moved once."""

    def __init__(self, context: Context, settings: RetainSettings) -> None:
        self.context, self.share, self.settings = context, settings.share, settings.vae
        latent, shape, width = settings.vae.latent, context.task.shape, settings.vae.width
        with context.streams.as_global("vae", shared=True):
            width = affordable_width(context, latent, context.task.shape) if width == "auto" else width
            self.vae = context.runtime.place(VAE(latent, shape, width))
        # The released code has an optimiser each for encoder and decoder, at the same rate: the same steps as one.
        self.optimizer = torch.optim.Adam(self.vae.parameters(), lr=settings.vae.lr)
        self.clock = Slot(move=-2, since=0, count=0)
        """move: of the latest student step. since: student steps since an acquisition. count: images a replay has."""

    def recall(self) -> Batch | None:
        """New images from the decoder, with the teacher's answers; none before it has learnt.

        Their targets are the teacher's decisions.
        """
        if self.clock["count"] == 0:
            return None
        codes = self._codes(self.clock["count"])
        with torch.no_grad(), fixed(self.vae.decoder):
            images = images_from(self.vae.decoder, codes, self.context)
        self.context.counters.add("samples", len(images))
        batch = self.context.teach(images)
        batch.targets = batch.answers().logits.argmax(1)
        return batch

    def _codes(self, count: int) -> Tensor:
        """(count, Z) one step from standard normal towards images the teacher is sure of, classes even."""
        settings, context = self.settings, self.context
        codes = latents(count, settings.latent, context, "vae-codes").requires_grad_()
        with fixed(self.vae.decoder):
            images = images_from(self.vae.decoder, codes, context)
            outputs = context.teacher(images)
        losses, answers = context.acquire_losses(images, outputs), outputs.logits
        losses.add("one_hot", settings.one_hot, lambda: class_priors.one_hot(answers))
        losses.add("entropy", settings.entropy, lambda: class_priors.information_entropy(answers))
        losses.add("moments", 1, lambda: normal_moments(codes))
        (slope,) = torch.autograd.grad(losses.total(), codes)
        # The first step of Adam: its running means are those of this one gradient.
        return (codes - settings.code_lr * slope / (slope.abs() + 1e-8)).detach()

    def remember(self, batch: Batch, replayed: Batch | None) -> dict[str, Tensor]:
        """Learns from this batch, if an acquisition came at most `steps` student steps ago. What it lost, by name."""
        clock, move = self.clock, self.context.streams.move
        clock["since"] = clock["since"] + 1 if move == clock["move"] + 1 else 1
        clock["move"] = move
        if clock["since"] > self.settings.steps:
            return {}
        clock["count"] = max(2, round(self.share * len(batch.images)))
        losses = self._learn(batch, replayed)
        return {f"vae_{name}": value for name, value in losses.values().items()}

    def _learn(self, batch: Batch, replayed: Batch | None) -> Losses:
        """One step of encoder and decoder on half of the new batch and on all that was replayed.

        Deviation: these are the samples the student has just replayed; the released code draws others for it.
        """
        context, count = self.context, max(2, round(SHOWN * len(batch.images)))
        images, answers = batch.images[:count].detach(), batch.answers().logits[:count]
        if replayed is not None:
            images = torch.cat([images, replayed.images])
            answers = torch.cat([answers, replayed.answers().logits])
        shown = context.pixels(images)
        with context.runtime.autocast():
            mean, log_variance = (value.float() for value in self.vae.encoder(shown))
        noise = latents(len(images), self.settings.latent, context, "vae-noise")
        made = images_from(self.vae.decoder, mean + (0.5 * log_variance).exp() * noise, context)
        outputs = context.teacher(made)
        losses = context.acquire_losses(made, outputs)
        losses.add("pixels", 1, lambda: (context.pixels(made) - shown).abs().mean())
        losses.add("answers", 1, lambda: logits.l1(outputs.logits, answers))
        losses.add("prior", PRIOR, lambda: normal_kl(mean, log_variance))
        losses.total().backward()
        context.runtime.step(self.optimizer)
        return losses

    def state(self) -> Mapping[str, Stateful]:
        return {"memory": self.clock, "vae": self.vae, "vae_optimizer": self.optimizer}


def normal_moments(codes: Tensor) -> Tensor:
    """Squared distance of mean and variance over the batch from 0 and 1, averaged over Z; codes (B, Z), B > 1.

    As in PRE-DFKD's released code, where it stands for the KL of a set of codes.
    """
    return (codes.var(0) - 1).square().mean() + codes.mean(0).square().mean()
