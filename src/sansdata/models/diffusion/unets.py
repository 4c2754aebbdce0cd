"""UNets of the library `diffusers`, from plain descriptions of them and of their schedulers: two classes of network,
and schedulers by what their files say. Nothing is fetched, no code of a folder runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import MissingLibraryError, StudentError, first_line
from .denoiser import Denoiser
from .schedules import Flow, Karras, Schedule
from .steerable import silent

NETWORK, CONDITIONAL = "UNet2DModel", "UNet2DConditionModel"
NETWORKS = (NETWORK, CONDITIONAL)
BESIDE_TEXTS = ("class_embed_type", "num_class_embeds", "addition_embed_type", "encoder_hid_dim_type")
"""Fields of a network's config by which it reads more than the features of a text."""
MAX_TIMES = 100_000
VARIANCE_PRESERVING = (
    "DDPMScheduler", "DDIMScheduler", "PNDMScheduler", "DPMSolverMultistepScheduler", "DPMSolverSinglestepScheduler",
    "EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler", "HeunDiscreteScheduler", "LMSDiscreteScheduler",
    "UniPCMultistepScheduler", "DEISMultistepScheduler", "KDPM2DiscreteScheduler",
)  # fmt: skip
"""Schedulers that sample, each in its own way, what was trained on the same table of alphas."""
FLOWS = ("FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler")
EDMS = ("EDMEulerScheduler", "EDMDPMSolverMultistepScheduler")


class UNet(nn.Module):
    """States (B, C, H, W), times (B,) and labels (B,) -> what the network predicts (B, C, H, W). Of one that predicts
    its variance too, that half is left out."""

    network = NETWORK

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        plain = {name: value for name, value in config.items() if not name.startswith("_")}
        self.unet = getattr(library("diffusers"), self.network).from_config(plain)
        self.channels = int(self.unet.config.in_channels)

    def take_condition(self, entries: int) -> None:
        """So that it can be told `entries` numbers beside the time, where the library's own conditional networks take
        them: added to the features of the time."""
        embedding = self.unet.time_embedding
        embedding.cond_proj = silent(entries, embedding.linear_1.in_features)

    def forward(
        self, state: Tensor, time: Tensor, label: Tensor | None = None, condition: Tensor | None = None
    ) -> Tensor:
        if condition is None:
            return self.unet(state, time, class_labels=label).sample[:, : self.channels]
        # the network does not pass on what its embedding would take
        passing = self.unet.time_embedding.register_forward_pre_hook(
            lambda part, args: (args[0] + part.cond_proj(condition.to(args[0].dtype)), *args[1:])
        )
        try:
            return self.unet(state, time, class_labels=label).sample[:, : self.channels]
        finally:
            passing.remove()


class ConditionalUNet(UNet):
    """The same of a UNet2DConditionModel that is conditioned on labels and reads no text. What it is told goes where
    the library's scripts for guidance distillation have it: its own `timestep_cond`."""

    network = CONDITIONAL

    def __init__(self, config: Mapping[str, Any]) -> None:
        if reads := reads_texts(config):
            raise StudentError(
                f"the network's {reads} reads texts, which are not there: give the pipeline's whole folder, with its "
                "text encoder and its tokenizer"
            )
        super().__init__(config)

    def take_condition(self, entries: int) -> None:
        super().take_condition(entries)
        self.unet.register_to_config(time_cond_proj_dim=entries)

    def forward(
        self, state: Tensor, time: Tensor, label: Tensor | None = None, condition: Tensor | None = None
    ) -> Tensor:
        return self.unet(state, time, None, class_labels=label, timestep_cond=condition).sample[:, : self.channels]


class TextUNet(ConditionalUNet):
    """The same of one that reads texts. A label (B,) is the number of a text, of which `texts` (N, L, D) has what the
    pipeline's encoder makes of its tokens; the last is the empty text, which stands for none."""

    texts: Tensor

    def __init__(self, config: Mapping[str, Any], shape: Sequence[int]) -> None:
        for field in BESIDE_TEXTS:
            if config.get(field) is not None:
                raise StudentError(f"a network that reads more than texts ({field}: {config[field]!r:.40}) is not read")
        UNet.__init__(self, config)
        if shape[2] != self.unet.config.cross_attention_dim:
            raise StudentError(
                f"the network reads texts in {self.unet.config.cross_attention_dim!r:.40} numbers a token, and their "
                f"encoder gives {shape[2]}"
            )
        self.register_buffer("texts", torch.zeros(tuple(shape)))

    def forward(
        self, state: Tensor, time: Tensor, label: Tensor | None = None, condition: Tensor | None = None
    ) -> Tensor:
        place = torch.full((len(state),), -1, device=state.device) if label is None else label
        return self.unet(state, time, self.texts[place], timestep_cond=condition).sample[:, : self.channels]


def reads_texts(config: Mapping[str, Any]) -> str:
    """The first block of a UNet's config that attends to texts; '' where there is none."""
    parts = [config.get(field) for field in ("down_block_types", "up_block_types")]
    named = [*(name for part in parts if isinstance(part, (list, tuple)) for name in part)]
    named += [config.get("mid_block_type", "UNetMidBlock2DCrossAttn")]
    return next((str(name)[:60] for name in named if "CrossAttn" in str(name)), "")


def denoiser_of(args: Mapping[str, Any], network: str = NETWORK) -> Denoiser:
    """The denoiser, with random weights, of {'unet': its config, 'scheduler': the scheduler's, 'labels': how many the
    task has}, and for one that reads texts 'texts': [labels + 1, tokens, numbers a token], which are zeros. network:
    one of NETWORKS. Raises StudentError for what is none, MissingLibraryError without the library."""
    unet, scheduler, labels = (args.get(name) for name in ("unet", "scheduler", "labels"))
    if not (isinstance(unet, Mapping) and isinstance(scheduler, Mapping) and isinstance(labels, int)):
        raise StudentError(
            "architecture: a network of diffusers needs 'unet' and 'scheduler', and 'labels' of the task"
        )
    schedule, prediction, clip = read_scheduler(scheduler)
    deviation = float(scheduler.get("sigma_data", 0.5))
    made: UNet
    if network == CONDITIONAL and "texts" in args:
        made, null = TextUNet(unet, _shape_of_texts(args["texts"], labels)), labels
    else:
        made = ConditionalUNet(unet) if network == CONDITIONAL else UNet(unet)
        null = _null_label(unet, labels)
    return Denoiser(made, schedule, prediction, clip, labels, null, deviation=deviation)  # type: ignore[arg-type]


def _shape_of_texts(shape: object, labels: int) -> Sequence[int]:
    whole = isinstance(shape, (list, tuple)) and len(shape) == 3 and all(type(one) is int and one > 0 for one in shape)
    if not whole or shape[0] != labels + 1:  # type: ignore[index]
        raise StudentError(
            f"architecture: 'texts' of {labels} labels is [{labels + 1}, tokens, numbers], got {shape!r:.60}"
        )
    return shape  # type: ignore[return-value]


def _null_label(unet: Mapping[str, Any], labels: int) -> int | None:
    """The label that stands for none: the last, where the network has one more than the task."""
    if unet.get("class_embed_type") is not None:
        raise StudentError(f"architecture: labels of the sort {unet['class_embed_type']!r:.40} are not read")
    known = unet.get("num_class_embeds") or 0
    if known not in (labels, labels + 1 if labels else 0):
        raise StudentError(f"the network knows {known} labels and the task has labels: {labels}")
    return labels if known == labels + 1 else None


def read_scheduler(config: Mapping[str, Any]) -> tuple[Schedule | Tensor, str, float | None]:
    """(schedule, what is predicted, bound on the clean sample) as a scheduler_config.json says it. Raises StudentError
    for a scheduler of another sort, or one that changes samples in a way that is not read."""
    name = str(config.get("_class_name", "DDPMScheduler"))
    times = config.get("num_train_timesteps", 1000)
    if not isinstance(times, int) or not 2 <= times <= MAX_TIMES:
        raise StudentError(f"a scheduler has 2 to {MAX_TIMES:,} num_train_timesteps, got {times!r:.40}")
    if config.get("thresholding"):
        raise StudentError("the scheduler clips by quantiles of each sample (thresholding), which is not read")
    if name in FLOWS:
        return Flow(last=float(times)), "flow", None
    if name in EDMS:
        return Karras(float(config.get("sigma_min", 0.002)), float(config.get("sigma_max", 80.0))), "edm", None
    if name not in VARIANCE_PRESERVING:
        known = ", ".join((*VARIANCE_PRESERVING, *FLOWS, *EDMS))
        raise StudentError(f"the scheduler {name[:60]!r} is unknown here. Known: {known}")
    prediction = config.get("prediction_type", "epsilon")
    if prediction not in ("epsilon", "sample", "v_prediction"):
        raise StudentError(f"a scheduler whose prediction_type is {prediction!r:.40} is not read")
    clips = config.get("clip_sample", name in ("DDPMScheduler", "DDIMScheduler"))
    return kept_signal(config), prediction, float(config.get("clip_sample_range", 1.0)) if clips else None


def kept_signal(config: Mapping[str, Any]) -> Tensor:
    """(N,) alpha squared by time, as the library makes it of the scheduler's betas."""
    fields = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas",
              "rescale_betas_zero_snr")  # fmt: skip
    try:
        scheduler = library("diffusers").DDIMScheduler(**{name: config[name] for name in fields if name in config})
    # NotImplementedError is the library's word for a schedule that it does not know.
    except (ValueError, TypeError, NotImplementedError, RuntimeError) as fault:
        raise StudentError(f"the scheduler's betas cannot be read: {first_line(fault)}") from None
    return torch.as_tensor(scheduler.alphas_cumprod, dtype=torch.float64)


def library(name: str) -> Any:
    """A library that is not always there. Raises MissingLibraryError, also where it is there and does not load."""
    try:
        loaded = import_module(name)
        _ = loaded.UNet2DModel, loaded.DDIMScheduler  # it loads its parts late, and they their own libraries
    except (ImportError, RuntimeError, OSError) as fault:
        raise MissingLibraryError(
            f"networks of diffusers need the library, and it does not load ({first_line(fault)}): pip install diffusers"
        ) from None
    return loaded
