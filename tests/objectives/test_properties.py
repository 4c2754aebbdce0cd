"""What must hold of the losses whatever the numbers."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from sansdata.objectives import agreement, class_priors, features, image_priors, logits

quick = settings(max_examples=30, deadline=None)
finite = st.floats(-30, 30, width=32)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[torch.Tensor, torch.Tensor]:
    """Two sets of logits of one shape, float64."""
    shape = (draw(st.integers(1, 6)), draw(st.integers(2, 8)))
    a, b = (draw(arrays.arrays("float64", shape, elements=finite)) for _ in range(2))
    return torch.from_numpy(a.copy()), torch.from_numpy(b.copy())


temperatures = st.sampled_from([0.5, 1.0, 3.0, 20.0])


@quick
@given(pairs(), temperatures)
def test_kl_is_never_negative(pair, temperature):
    assert (logits.kl(*pair, temperature) >= -1e-10).all()


@quick
@given(pairs(), temperatures)
def test_every_loss_is_nought_on_equal_logits(pair, temperature):
    for name in ("kl", "l1", "mse"):
        assert logits.match(name, pair[0], pair[0].clone(), temperature).abs().max() == 0


@quick
@given(pairs(), temperatures)
def test_kl_at_a_temperature_is_its_square_times_kl_of_divided_logits(pair, temperature):
    s, t = pair
    wanted = temperature**2 * logits.kl(s / temperature, t / temperature)
    assert torch.allclose(logits.kl(s, t, temperature), wanted, rtol=1e-9, atol=1e-12)


@quick
@given(pairs())
def test_kl_at_a_high_temperature_approaches_the_variance_of_differences(pair):
    """Hinton, section 2.1: for high temperatures distillation matches (centred) logits."""
    s, t = pair
    difference = s - t
    wanted = 0.5 * difference.var(1, correction=0)
    assert torch.allclose(logits.kl(s, t, 1e5), wanted, rtol=1e-2, atol=1e-2)


@quick
@given(pairs(), st.floats(-20, 20))
def test_softmax_losses_do_not_feel_a_shift(pair, shift):
    s, t = pair
    assert torch.allclose(logits.kl(s + shift, t - shift), logits.kl(s, t), rtol=1e-7, atol=1e-9)
    labels = t.argmax(1)
    assert torch.allclose(logits.cross_entropy(s + shift, labels), logits.cross_entropy(s, labels), atol=1e-9)
    assert torch.allclose(class_priors.one_hot(s + shift), class_priors.one_hot(s), atol=1e-9)
    assert torch.allclose(class_priors.information_entropy(s + shift), class_priors.information_entropy(s), atol=1e-9)


@quick
@given(pairs(), st.randoms(use_true_random=False))
def test_a_permuted_batch_gives_permuted_losses(pair, random):
    s, t = pair
    order = list(range(len(s)))
    random.shuffle(order)
    for loss in (logits.kl, logits.l1, logits.mse, logits.decision_adversarial):
        assert torch.allclose(loss(s[order], t[order]), loss(s, t)[order], rtol=1e-9, atol=1e-12)
    assert torch.allclose(class_priors.information_entropy(s[order]), class_priors.information_entropy(s))


@quick
@given(pairs(), st.randoms(use_true_random=False))
def test_renamed_classes_change_no_loss(pair, random):
    s, t = pair
    order = list(range(s.shape[1]))
    random.shuffle(order)
    for loss in (logits.kl, logits.l1, logits.mse):
        assert torch.allclose(loss(s[:, order], t[:, order]), loss(s, t), rtol=1e-9, atol=1e-12)
    assert torch.allclose(class_priors.information_entropy(s[:, order]), class_priors.information_entropy(s))


@quick
@given(pairs())
def test_l1_and_mse_are_symmetric_and_kl_is_not_assumed_to_be(pair):
    s, t = pair
    assert torch.equal(logits.l1(s, t), logits.l1(t, s))
    assert torch.equal(logits.mse(s, t), logits.mse(t, s))
    assert (logits.l1(s, t) ** 2 <= logits.mse(s, t) * (1 + 1e-9)).all()  # Jensen


@quick
@given(pairs())
def test_decision_adversarial_is_never_positive(pair):
    assert (logits.decision_adversarial(*pair) <= 1e-10).all()


@quick
@given(pairs())
def test_entropies_stay_in_their_range(pair):
    s, _ = pair
    classes = s.shape[1]
    value = class_priors.information_entropy(s).item()
    assert -math.log10(classes) - 1e-9 <= value <= 1e-9
    assert -1e-6 <= agreement.class_entropy(s) <= 1 + 1e-6
    assert agreement.class_histogram(s).sum().item() == pytest.approx(1, abs=1e-6)


@quick
@given(pairs())
def test_agreement_is_a_share_and_whole_with_oneself(pair):
    s, t = pair
    assert 0 <= agreement.agreement(s, t) == pytest.approx(agreement.agreement(t, s))
    assert 0 <= agreement.balanced_agreement(s, t) <= 1 + 1e-6
    assert agreement.balanced_agreement(t, t) == pytest.approx(1)


@quick
@given(pairs())
def test_gradients_equal_finite_differences(pair):
    s, t = (value / 10 for value in pair)
    assume((s - t).abs().min() > 1e-3)  # l1 has a corner at equality
    for loss in (lambda v: logits.kl(v, t, 3.0), lambda v: logits.l1(v, t), lambda v: logits.mse(v, t)):
        assert torch.autograd.gradcheck(loss, (s.clone().requires_grad_(),), eps=1e-6, atol=1e-6)


picture_shapes = st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(2, 6), st.integers(2, 6))
pictures = arrays.arrays("float64", picture_shapes, elements=st.floats(-2, 2, width=32))


@quick
@given(pictures, st.floats(-3, 3), st.floats(0, 5))
def test_total_variation_feels_neither_brightness_nor_mirroring_and_scales(x, brightness, scale):
    images = torch.from_numpy(x.copy())
    value = image_priors.total_variation(images)
    close = {"rtol": 1e-9, "atol": 1e-9}
    assert torch.allclose(image_priors.total_variation(images + brightness), value, **close)
    assert torch.allclose(image_priors.total_variation(images.flip(-1)), value, **close)
    assert torch.allclose(image_priors.total_variation(scale * images), scale * value, **close)


@quick
@given(pictures, st.floats(0.125, 8))
def test_attention_transfer_feels_no_scale(x, scale):
    maps = torch.from_numpy(x.copy())
    other = maps.roll(1, 0) + 0.5
    assume(maps.square().mean(1).flatten(1).norm(dim=1).min() > 1e-3)
    got, wanted = features.attention_transfer(scale * maps, other), features.attention_transfer(maps, other)
    assert torch.allclose(got, wanted, atol=1e-5)
    assert (features.attention_transfer(maps, maps) == 0).all()


def test_entropy_of_a_certain_teacher_has_a_finite_gradient():
    logits = torch.tensor([[200.0, 0.0, -300.0]] * 4, requires_grad=True)  # softmax is exactly (1, 0, 0) in float32
    class_priors.information_entropy(logits).backward()
    assert logits.grad is not None
    assert bool(torch.isfinite(logits.grad).all())
