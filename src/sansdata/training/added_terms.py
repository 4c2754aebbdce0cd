"""Feature alignment that any method can carry, read from the same forward passes as its own loss."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .. import columns
from ..columns import Inputs
from ..contracts import Losses, Outputs
from ..errors import MethodError
from ..kinds.index import input_kind
from ..method import Context
from ..models.device import device_of
from ..models.modes import fixed
from ..network import Network
from ..objectives.affinity import affinity, fast_affinity, over_batch
from ..objectives.features import attention_transfer, hint
from ..settings import FeatureTerms


class AddedTerms(nn.Module):
    """The pairs of taps, the regressors a hint needs where widths differ, and the adapters of affinities: trained with
    the student and dropped."""

    def __init__(self, settings: FeatureTerms, context: Context) -> None:
        """On the student as it is built, whose regressors are on the runtime's device, the same on every rank; the
        context then knows which taps to read. Raises MethodError where the modules cannot be paired."""
        super().__init__()
        self.settings, self.streams = settings, context.streams
        teacher, student = context.teacher.network, context.network
        probe = input_kind(context.task).draw(2, torch.Generator().manual_seed(0))
        self.teacher_taps = settings.teacher or stage_ends(teacher, probe)
        self.student_taps = settings.student or stage_ends(student, probe)
        if not self.teacher_taps or len(self.teacher_taps) != len(self.student_taps):
            raise MethodError(
                f"features: found {len(self.teacher_taps)} stage(s) in the teacher and {len(self.student_taps)} in the "
                "student, which cannot be paired. Name them: features.teacher=[layer1,layer2] features.student=[a,b]."
            )
        with context.streams.as_global("regressors", shared=True):
            widths = [(_width(student, s, probe), _width(teacher, t, probe)) for t, s in self.pairs]
            needed = [nn.Conv2d(s, t, 1, bias=False) if s != t else nn.Identity() for s, t in widths]
            self.regressors = nn.ModuleList(needed if settings.hint else [])
            adapted = [nn.Sequential(nn.Conv2d(s, s, 1), nn.ReLU()) for s, _ in widths if settings.affine]
            self.adapters = nn.ModuleList(adapted if settings.adapter else [])
        context.teacher_taps = tuple(dict.fromkeys([*context.teacher_taps, *self.teacher_taps]))
        context.student_taps = tuple(dict.fromkeys([*context.student_taps, *self.student_taps]))
        context.runtime.place(self)

    @property
    def pairs(self) -> list[tuple[str, str]]:
        return list(zip(self.teacher_taps, self.student_taps))

    def add_to(self, losses: Losses, student: Outputs, teacher: Outputs) -> None:
        """Adds 'hint', 'attention', 'affinity' and 'fast_affinity' to the student's loss."""
        losses.add("hint", self.settings.hint, lambda: self._hint(student, teacher))
        losses.add("attention", self.settings.attention, lambda: self._attention(student, teacher))
        losses.add("affinity", self.settings.affinity, lambda: self._affinity(student, teacher, fast=False))
        losses.add("fast_affinity", self.settings.fast_affinity, lambda: self._affinity(student, teacher, fast=True))

    def _hint(self, student: Outputs, teacher: Outputs) -> Tensor:
        terms = []
        for regressor, (t, s) in zip(self.regressors, self.pairs):
            regressed, target = regressor(student.taps[s].float()), teacher.taps[t]
            if regressed.shape[2:] != target.shape[2:]:
                regressed = nn.functional.adaptive_avg_pool2d(regressed, (target.shape[2], target.shape[3]))
            terms.append(hint(regressed, target))
        return torch.stack(terms).sum(0)

    def _attention(self, student: Outputs, teacher: Outputs) -> Tensor:
        return torch.stack([attention_transfer(student.taps[s], teacher.taps[t]) for t, s in self.pairs]).sum(0)

    def _affinity(self, student: Outputs, teacher: Outputs, fast: bool) -> Tensor:
        """The probes of a move are the same at every call: an update may compute the loss at several weights."""
        order, terms = self.settings.affinity_order, []
        for place, (t, s) in enumerate(self.pairs):
            maps, target = student.taps[s].float(), teacher.taps[t].float()
            maps = self.adapters[place](maps) if self.settings.adapter else maps
            if target.shape[2:] != maps.shape[2:]:
                size = (maps.shape[2], maps.shape[3])
                target = nn.functional.interpolate(target, size, mode="bilinear", align_corners=True)
            if fast:
                term = fast_affinity(maps, target, self._probes(place, maps), order)
            else:
                term = affinity(maps, target, order)
            terms.append(over_batch(term, order) if self.settings.affinity_sum else term)
        return torch.stack(terms).sum(0)

    def _probes(self, place: int, maps: Tensor) -> Tensor:
        generator = self.streams.afresh(f"affinity {place}", shared=True)
        shape = (maps.shape[2] * maps.shape[3], self.settings.probes)
        return torch.randn(shape, generator=generator).to(maps.device)


def stage_ends(network: Network, probe: Inputs) -> tuple[str, ...]:
    """Top-level children that give (B, C, H, W) with more than one pixel, the last of each resolution."""
    module = network.module
    children = [name for name, _ in module.named_children()]
    shapes: dict[str, torch.Size] = {}

    def note(name: str):
        def hook(_, __, output):
            if isinstance(output, Tensor) and output.ndim == 4 and output.shape[-1] > 1:
                shapes[name] = output.shape

        return hook

    handles = [module.get_submodule(name).register_forward_hook(note(name)) for name in children]
    try:
        _probed(network, probe)
    finally:
        for handle in handles:
            handle.remove()
    last_of_size = {shape[2:]: name for name, shape in shapes.items()}
    return tuple(last_of_size.values())


def _width(network: Network, tap: str, probe: Inputs) -> int:
    value = _probed(network, probe, (tap,)).taps[tap]
    if value.ndim != 4:
        raise MethodError(
            f"features: '{tap}' gives {tuple(value.shape)}; alignment needs (batch, channels, height, width)"
        )
    return value.shape[1]


def _probed(network: Network, probe: Inputs, taps: tuple[str, ...] = ()) -> Outputs:
    """Two inputs through the network in eval mode, without a trace."""
    device = device_of(network.module)
    with torch.no_grad(), fixed(network.module):
        return network(columns.to(probe, device), taps)
