"""EchoDFKD's students: the published sizes, a film in pieces, and what the recurrence is."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sansdata.models.build import architecture_of, build
from sansdata.models.conv_lstm import ConvLSTM, RecurrentSegmenter
from sansdata.models.zoo import CLIP_ZOO
from sansdata.tasks import load_task

TASK = load_task({"kind": "clip-segmentation", "shape": [1, 5, 16, 12], "classes": 2})
PUBLISHED = {
    1: (5_701, 16_141, 26_581, 37_021),
    2: (39_577, 91_633, 143_689, 195_745),
    3: (174_721, 392_953, 611_185, 829_417),
    4: (714_577, 1_596_937, 2_479_297, 3_361_657),
}
"""blocks -> parameters with 1 to 4 layers, as recomputed from the released code; the smallest is the paper's 5.7 k."""


@pytest.mark.parametrize("blocks", PUBLISHED)
def test_sizes_are_those_published(blocks: int) -> None:
    with torch.device("meta"):
        counts = tuple(
            sum(p.numel() for p in build(architecture_of(f"convlstm-{blocks}x{layers}", TASK)).parameters())
            for layers in range(1, 5)
        )
    assert counts == PUBLISHED[blocks]


def test_the_narrow_student_is_half_the_size() -> None:
    with torch.device("meta"):
        assert sum(p.numel() for p in build(architecture_of("convlstm-2x1-narrow", TASK)).parameters()) == 17_745


@pytest.mark.parametrize(
    "name", ["convlstm-1x1", "convlstm-3x2", "convlstm-2x1-skip", "convlstm-3x1-forgets", "frames-unet"]
)
def test_a_mask_for_every_frame_of_any_size(name: str) -> None:
    module = build(architecture_of(name, TASK)).train()
    for size in ((5, 16, 12), (3, 9, 7)):
        answers = module(torch.randn(2, 1, *size))
        assert answers.shape in ((2, 1, *size), (2, 2, *size))
    answers.square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in module.parameters())


def plain_cell(cell: ConvLSTM, x: Tensor) -> Tensor:
    """The released cell: one convolution of the frame and the state side by side."""
    h = c = torch.zeros(len(x), cell.width, *x.shape[3:])
    several = []
    for moment in x.unbind(2):
        i, f, o, g = F.conv2d(torch.cat([moment, h], 1), cell.gates.weight, cell.gates.bias, padding=1).chunk(4, 1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        several.append(h)
    return torch.stack(several, 2)


def test_a_cell_is_the_one_convolution_of_frame_and_state() -> None:
    cell, x = ConvLSTM(3, 4), torch.randn(2, 3, 6, 8, 7)
    moments = cell(torch.cat(x.unbind(2)), 6, None)[0].unflatten(0, (6, 2))
    assert torch.allclose(moments.movedim(0, 2), plain_cell(cell, x), atol=1e-5)


def network(**more: bool) -> RecurrentSegmenter:
    module = RecurrentSegmenter(1, 2, 4, 2, 2, **more)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.running_mean)
    return module.eval()


@torch.no_grad()
def test_a_film_in_pieces_gives_what_the_whole_gives() -> None:
    module, film = network(), torch.randn(1, 1, 7, 12, 10)
    state, parts = None, []
    for piece in (film[:, :, :1], film[:, :, 1:5], film[:, :, 5:]):
        answers, state = module.follow(piece, state)
        parts.append(answers)
    assert torch.allclose(torch.cat(parts, 2), module(film), atol=1e-5)


@torch.no_grad()
def test_only_the_network_that_remembers_is_moved_by_earlier_frames() -> None:
    film = torch.randn(1, 1, 4, 12, 10)
    other = torch.cat([torch.randn(1, 1, 3, 12, 10), film[:, :, 3:]], 2)
    assert not torch.allclose(network()(film)[:, :, 3], network()(other)[:, :, 3], atol=1e-3)
    module = network(forgets=True)
    assert torch.allclose(module(film)[:, :, 3], module(other)[:, :, 3], atol=1e-6)


def test_every_network_of_clips_is_named_by_what_it_does() -> None:
    assert {name.partition("-")[0] for name in CLIP_ZOO} == {"convlstm", "frames"}
