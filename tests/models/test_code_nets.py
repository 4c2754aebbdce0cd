"""AF-STip's networks: shapes, gradients, and what padding must not change."""

from __future__ import annotations

import torch

from sansdata.models.code_nets import GRU, WORDS, AdaptiveFusion


def test_the_fusion_keeps_the_shape_and_every_part_learns() -> None:
    torch.manual_seed(0)
    fusion, states = AdaptiveFusion(12, memory=5), torch.randn(3, 9, 12, requires_grad=True)
    mask = torch.arange(9)[None] < torch.tensor([9, 4, 1])[:, None]
    mixed = fusion(states, mask)
    assert mixed.shape == states.shape
    mixed.square().sum().backward()
    assert states.grad is not None
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in fusion.parameters())


def test_the_memory_is_read_by_places_that_hold_a_token() -> None:
    torch.manual_seed(0)
    fusion, states = AdaptiveFusion(6, memory=4).eval(), torch.randn(1, 8, 6)
    states[:, 5:] = 0
    mask = torch.arange(8)[None] < 5
    query = fusion.query(states)
    channels = torch.sigmoid(fusion.channels((states[:, :5]).mean(1)))[:, None]
    places = torch.sigmoid(fusion.places(states.mean(2)[:, None])).transpose(1, 2)
    attention = ((query * channels + query * places)[:, :5] @ fusion.keys.T).softmax(1)
    remembered = attention / attention.sum(2, keepdim=True) @ fusion.values
    turned = states.transpose(1, 2)
    local = fusion.join(torch.cat([stage(turned) for stage in fusion.stages], 1)).transpose(1, 2)[:, :5]
    gate = torch.sigmoid(fusion.gate(torch.cat([remembered, local], 2)))
    wanted = gate * remembered + (1 - gate) * local + states[:, :5]
    assert torch.allclose(fusion(states, mask)[:, :5], wanted, atol=1e-5)


def test_teacher_and_student_have_words_of_one_width() -> None:
    teacher, student = GRU(30, 2, 64, fused=True), GRU(30, 2, 4)
    assert teacher.embedding.weight.shape == student.embedding.weight.shape == (30, WORDS)
    tokens, mask = torch.randint(30, (2, 7)), torch.ones(2, 7, dtype=torch.bool)
    assert teacher(tokens, mask).shape == student(tokens, mask).shape == (2, 2)
