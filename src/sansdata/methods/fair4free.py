"""Fair4Free: a small network that draws the latents of a fair autoencoder, whose decoder makes rows or pictures of them
(Sikder, de Leng & Heintz 2024, arXiv 2410.01423; no code was released).

The teacher's file says what a student's targets can be (`teachers.autoencoder.base.MODES`). Deviation: the paper's
targets are the teacher's encodings of the training rows, so that its distillation reads data; here these are the mode
`latent-bank`, which must be asked for, and the other modes need no row.
Deviation: the paper does not say its loss. Noise and targets are drawn independently, so that a loss between the two of
a row has the mean of all latents as its optimum; the losses here are between sets. `mse` shows the collapse.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import pydantic
import torch
from torch import Tensor

from ..config import Strict
from ..contracts import Access, Batch, Forward, Losses, Outputs, Requirements, Stateful
from ..errors import MethodError
from ..figures import Drawing, Figure, Finding, Warned
from ..kinds.index import input_kind
from ..kinds.inputs.noise import noise_of
from ..method import Context, Method
from ..models.fair_image_vae import LatentPictures
from ..models.modes import fixed
from ..objectives.distributions import energy_distance, mmd, sliced_w2, unit_vectors
from ..teachers.autoencoder import ENCODES
from ..teachers.autoencoder.base import LatentSource
from ..training.transfer import TransferSettings

SHOWN = 2000
"""Latents of each side between which the end of a run is measured."""


class Fair4FreeConfig(Strict):
    """handover: where the targets come from; auto takes moments where the teacher's file has them, else cycle."""

    handover: Literal["auto", "prior", "moments", "cycle", "latent-bank"] = "auto"
    personal_data: bool = False  # allows latent-bank, which is data
    loss: Literal["mmd", "energy", "sliced-w2", "mse"] = "mmd"  # ours; the paper's is not known
    directions: int = pydantic.Field(default=64, ge=1)  # of sliced-w2: ours
    steps: int = pydantic.Field(default=2000, ge=1)  # ours
    transfer: TransferSettings = TransferSettings(
        optimizer="adam", lr=2e-3, weight_decay=0.0, batch=256
    )  # ours; FLDGM's latent GAN: lr 2e-4, weight decay 1e-4


class Fair4Free(Method):
    """Each step draws noise and targets afresh; nothing is kept."""

    Config: ClassVar[type] = Fair4FreeConfig
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # The paper's targets: latents of real rows, which the teacher's file must hold.
        "paper": {"handover": "latent-bank", "personal_data": True},
    }

    @classmethod
    def requires(cls, config: Fair4FreeConfig) -> Requirements:
        return Requirements(
            access=Access.LABELS, capabilities=frozenset({ENCODES}), inputs=frozenset({"noise"}),
            outputs=frozenset({"vectors", "field"}),
        )  # fmt: skip

    @classmethod
    def plan(cls, config: Fair4FreeConfig, steps: int) -> dict[str, int]:
        return {"transfer": steps}

    def __init__(self, config: Fair4FreeConfig, context: Context) -> None:
        """Raises MethodError for a hand-over that the teacher's file has nothing for or that is data, and for a student
        that draws no latents."""
        super().__init__(config, context)
        self.source: LatentSource = context.teacher.capability(ENCODES)
        if context.task.pair[1] == "field" and not isinstance(context.student, LatentPictures):
            raise MethodError(
                "fair4free: pictures are decoded of latents, so the student is a small network of latents before the "
                "teacher's decoder: --student latents:latent-mlp"
            )
        self.mode = handover_of(config, self.source)
        self.kind = input_kind(context.task)

    def next_move(self) -> str:
        return "transfer"

    def transfer_batch(self) -> Batch:
        context, count = self.context, self.config.transfer.batch
        noise = self.kind.draw(count, context.streams("noise"))
        latents = self.source.latents(self.mode, count, context.streams("latents"))
        context.counters.add("samples", count)
        context.counters.add("teacher_forwards", count)
        place = context.runtime.place
        batch = Batch(place(noise), teacher_outputs=Outputs(place(latents)))
        if self.config.loss == "sliced-w2":
            batch.extras["directions"] = place(
                unit_vectors(self.config.directions, latents.shape[1], context.streams("directions"))
            )
        return batch

    def student_loss(self, student: Forward, batch: Batch) -> Losses:
        losses, sought = Losses(), batch.answers().value
        own = student(noise_of(batch.inputs)).value  # without a group: of pictures too these are the latents
        losses.add(self.config.loss, 1, lambda: self._apart(own, sought, batch))
        return losses

    def _apart(self, own: Tensor, sought: Tensor, batch: Batch) -> Tensor:
        if self.config.loss == "sliced-w2":
            return sliced_w2(own, sought, batch.extras["directions"])
        if self.config.loss == "mse":
            return (own - sought).square().mean()
        return {"mmd": mmd, "energy": energy_distance}[self.config.loss](own, sought)

    def findings(self) -> list[Finding]:
        """How like the latents of the student are to those that it was to draw, as sets."""
        streams = self.context.streams
        sought = self.source.latents(self.mode, SHOWN, streams.afresh("judged latents")).double()
        noise = self.context.runtime.place(self.kind.draw(SHOWN, streams.afresh("judged noise")))
        with torch.no_grad(), fixed(self.context.student):
            own = self.context.student_outputs(noise_of(noise)).value.double().cpu()
        ratio = own.std(0) / sought.std(0).clamp_min(1e-12)
        judged: list[Finding] = [
            Figure("latent_spread_ratio", float(ratio.mean()), "number",
                   "spread of the student's latents over that of its targets, mean; 1: alike, 0: one point"),
            Figure("latent_energy_distance", float(energy_distance(own, sought).clamp_min(0)), "number",
                   f"between the student's latents and targets of the mode {self.mode}; 0: alike", "lower"),
            Drawing("latent_spread_ratios", "bars", [round(value, 4) for value in ratio.tolist()],
                    "of each number of the latent; 1: as wide as its targets", unit="number"),
        ]  # fmt: skip
        return judged

    def warnings(self) -> list[Warned]:
        if self.mode != "latent-bank" or self.source.bank is None:
            return []
        return [Warned(
            "not data-free", len(self.source.bank.latents),
            "the student learnt the latents of so many real rows or pictures, which are personal data and lie in the "
            "teacher's file. The paper does so; moments, cycle and prior do not.",
        )]  # fmt: skip

    def state(self) -> Mapping[str, Stateful]:
        return {}


def handover_of(config: Fair4FreeConfig, source: LatentSource) -> str:
    """The mode that `config` means for this teacher. Raises MethodError."""
    mode = config.handover
    if mode == "auto":
        return "moments" if "moments" in source.modes else "cycle"
    if mode not in source.modes:
        raise MethodError(
            f"fair4free: the teacher's file has nothing for handover={mode}. It has: {', '.join(source.modes)}; its "
            f"owner writes it anew by sansdata autoencoder ... --handover {mode}"
        )
    if mode == "latent-bank" and not config.personal_data:
        raise MethodError(
            "fair4free: handover=latent-bank learns latents of real rows, which are data, and a run of it is not "
            "data-free. Take moments, cycle or prior; where you may use personal data, say personal_data=true"
        )
    return mode
