"""A fair autoencoder as a file, as a teacher that draws latents, and as what makes rows of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from sansdata.errors import ConfigError, TeacherError, UserError
from sansdata.models.tensor_file import read_metadata
from sansdata.tasks import PairTask
from sansdata.teachers.autoencoder import load_autoencoder, role_of, save_autoencoder, task_of, teacher_of
from sansdata.teachers.autoencoder.base import AutoEncoder, Bank
from sansdata.teachers.autoencoder.decoding import decoded, likeness, rule_of
from sansdata.teachers.autoencoder.file import KEY
from sansdata.teachers.autoencoder.handover import moments_of
from sansdata.teachers.specs import load_teacher
from sansdata.testing.worlds import LATENT, make_autoencoder


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def with_bank() -> AutoEncoder:
    model = make_autoencoder()
    model.bank = Bank(torch.randn(30, LATENT, generator=stream()), torch.tensor([0, 1] * 15))
    return model


def leaning(strength: float = 4.0) -> AutoEncoder:
    """Its encoder and decoder tell the groups apart: by the first number of the latent, and by the class."""
    model = make_autoencoder()
    with torch.no_grad():
        first, last = model.vae.encoder[0], model.vae.encoder[2]
        first.weight[0] = 0.0  # type: ignore[index, operator]
        first.weight[0, -2:] = torch.tensor([0.0, strength])  # type: ignore[index, operator]
        last.weight[0] = 0.0  # type: ignore[index, operator]
        last.weight[0, 0] = 1.0  # type: ignore[index, operator]
        into, out = model.vae.decoder[0], model.vae.decoder[2]
        into.weight[0] = 0.0  # type: ignore[index, operator]
        into.weight[0, -2:] = torch.tensor([0.0, strength])  # type: ignore[index, operator]
        out.weight[-4:] = 0.0  # type: ignore[index, operator]
        out.weight[-4, 0] = 1.0  # type: ignore[index, operator]
    return model


# -- the file


@pytest.mark.parametrize("make", [make_autoencoder, with_bank])
def test_a_file_comes_back_as_it_was(make: Callable[[], AutoEncoder], tmp_path: Path) -> None:
    model, path = make(), tmp_path / "a.safetensors"
    save_autoencoder(path, model)
    again = load_autoencoder(path)
    assert again.bins == model.bins
    assert again.sensitive == model.sensitive
    assert again.modes == model.modes
    latents = torch.randn(6, LATENT, generator=stream())
    groups = torch.tensor([0, 1, 0, 1, 0, 1])
    for one, other in zip(again.probabilities(latents, groups), model.probabilities(latents, groups), strict=True):
        assert torch.equal(one, other)
    for mode in model.modes:
        assert torch.equal(again.latents(mode, 5, stream(1)), model.latents(mode, 5, stream(1)))
    assert teacher_of(again, task_of(again)).fingerprint() == teacher_of(model, task_of(model)).fingerprint()


def test_latents_of_real_rows_are_named_wherever_the_file_is(tmp_path: Path) -> None:
    plain, bank = tmp_path / "plain.safetensors", tmp_path / "bank.safetensors"
    save_autoencoder(plain, make_autoencoder())
    save_autoencoder(bank, with_bank())
    assert role_of(str(plain)) == "teacher"
    assert "30 real rows: personal data" in role_of(str(bank))
    assert any("personal data" in note for note in load_teacher(str(bank), task_of(with_bank())).notes)
    assert load_teacher(str(plain), task_of(with_bank())).notes == ()


def changed(path: Path, change: Callable[[dict[str, Any], dict[str, Tensor]], None]) -> Path:
    """The file with other words or tensors."""
    described, tensors = json.loads(read_metadata(path)[KEY]), load_file(path)
    change(described, tensors)
    save_file(tensors, path, {KEY: json.dumps(described)})
    return path


BROKEN: dict[str, tuple[Callable[[dict[str, Any], dict[str, Tensor]], Any], str]] = {
    "unknown word": (lambda d, t: d.update(run="this"), "run"),
    "another format": (lambda d, t: d.update(format=2), "format"),
    "a task of other kinds": (lambda d, t: d.update(task=task_of(make_autoencoder()).model_dump(mode="json")), "table"),
    "a numeric sensitive column": (lambda d, t: d["sensitive"].update(column="size"), "category"),
    "a level in no group": (lambda d, t: d["sensitive"].update(groups=[["red"], ["green"]]), "share out"),
    "shares that are none": (lambda d, t: d["sensitive"].update(shares=[1, 1, 1]), "share for each level"),
    "bins of a column that is none": (lambda d, t: d["bins"].update(colour=[[0, 1]]), "numeric columns"),
    "bins upside down": (lambda d, t: d["bins"].update(size=[[1, 0]]), "no intervals"),
    "bins out of order": (lambda d, t: d["bins"].update(size=[[1, 2], [0, 1]]), "ascend"),
    "a class too far": (lambda d, t: d.update(positive=9), "positive class"),
    "a latent of another size": (lambda d, t: d.update(latent=4), "shape"),
    "an enormous latent": (lambda d, t: d.update(latent=10**9), "latent"),
    "no decoder": (lambda d, t: t.pop("decoder.0.weight"), "decoder.0.weight"),
    "weights that are not finite": (lambda d, t: t["decoder.0.weight"].fill_(torch.inf), "not finite"),
    "a tensor too many": (lambda d, t: t.update(other=torch.zeros(2)), "other"),
    "moments that make no 1": (lambda d, t: t["moments.weights"].mul_(3), "make 1"),
    "moments of another size": (lambda d, t: t.update({"moments.means": torch.zeros(2, 3)}), "moments.means"),
    "a bank that is not said": (
        lambda d, t: t.update({"bank.latents": torch.zeros(3, LATENT), "bank.groups": torch.zeros(3).long()}),
        "real rows",
    ),
    "a bank that is not there": (lambda d, t: d.update(real_latents=7), "real rows"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_file_that_was_changed_is_refused_in_one_sentence(fault: str, tmp_path: Path) -> None:
    change, word = BROKEN[fault]
    path = tmp_path / "a.safetensors"
    save_autoencoder(path, make_autoencoder())
    with pytest.raises(UserError, match=word) as caught:
        load_autoencoder(changed(path, change))
    assert str(path) in str(caught.value)


def test_a_task_of_another_size_is_told_the_right_one(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_autoencoder(path, make_autoencoder())
    task = PairTask(inputs={"kind": "noise", "shape": [7]}, outputs={"kind": "vectors"})  # type: ignore[arg-type]
    with pytest.raises(TeacherError, match=rf"shape: \[{LATENT}\]"):
        load_teacher(str(path), task)


# -- what a student learns to draw


def test_moments_are_moved_noise_with_their_mean_and_covariance() -> None:
    model = make_autoencoder()
    moments = model.moments
    assert moments is not None
    noise = torch.randn(60_000, LATENT, generator=stream())
    drawn = moments.moved(noise).double()
    mean = (moments.weights[:, None] * moments.means).sum(0).double()
    second = sum(
        float(w) * (f @ f.T + m[:, None] * m[None])
        for w, m, f in zip(moments.weights, moments.means, moments.factors)
    )  # fmt: skip
    covariance = second.double() - mean[:, None] * mean[None]  # type: ignore[union-attr]
    assert torch.allclose(drawn.mean(0), mean, atol=0.05)
    assert torch.allclose(drawn.T.cov(), covariance, atol=0.12)
    assert torch.equal(moments.moved(noise[:5]), moments.moved(noise)[:5]), "the same noise is the same latent"


def test_moments_that_are_fitted_are_those_of_the_latents() -> None:
    latents = torch.randn(4000, 3, generator=stream()) @ torch.tensor([[1.0, 0.5, 0], [0, 1, 0], [0, 0, 0.2]]) + 2
    moments = moments_of(latents, 1, 0)
    assert torch.allclose(moments.means[0], latents.mean(0), atol=1e-4)
    assert torch.allclose(moments.factors[0] @ moments.factors[0].T, latents.T.cov(correction=0), atol=1e-3)


def test_a_bank_gives_its_own_latents_and_the_others_none_of_them() -> None:
    model = with_bank()
    assert model.bank is not None
    drawn = model.latents("latent-bank", 50, stream())
    assert all(bool((row == model.bank.latents).all(1).any()) for row in drawn)
    for mode in ("prior", "moments", "cycle"):
        assert not any(bool((row == model.bank.latents).all(1).any()) for row in model.latents(mode, 50, stream(7)))


# -- rules for the sensitive attribute


def rate(model: AutoEncoder, rule: str, proxies: tuple[str, ...] = ()) -> tuple[float, float, float]:
    """(share of group 1, share of class 0 in group 0, the same in group 1)."""
    made = decoded(model, torch.zeros(4000, LATENT), rule_of(rule, proxies, model), stream())
    by_group = [float((made.labels[made.groups == g] == 0).float().mean()) for g in (0, 1)]
    return float((made.groups == 1).float().mean()), *by_group


def test_a_decoder_that_sees_the_group_writes_it_into_the_class_unless_the_rule_is_neutral() -> None:
    model = leaning()
    share, low, high = rate(model, "marginal")
    assert share == pytest.approx(0.5, abs=0.03)
    assert high - low > 0.4
    _, low, high = rate(model, "neutral")
    assert high == pytest.approx(low, abs=0.05)
    assert rate(model, "balanced")[0] == pytest.approx(0.5, abs=0.03)
    made = decoded(model, torch.zeros(20, LATENT), rule_of("fixed:others", (), model), stream())
    assert made.groups.tolist() == [1] * 20
    assert set(made.rows["categories"][:, 0].tolist()) <= {1, 2}, "a level of the group"


def test_levels_of_a_group_are_as_frequent_as_among_real_rows() -> None:
    model = make_autoencoder()
    levels = model.levels_in(torch.ones(6000, dtype=torch.int64), stream())
    assert torch.bincount(levels, minlength=3).div(6000).tolist() == pytest.approx([0, 0.6, 0.4], abs=0.03)


def test_proxies_are_averaged_too_and_other_columns_are_not() -> None:
    model = make_autoencoder()
    with torch.no_grad():
        model.vae.decoder[2].weight.mul_(8)  # type: ignore[operator, union-attr]
    latents = torch.zeros(1, LATENT)
    one, other = (model.probabilities(latents, torch.tensor([group])) for group in (0, 1))
    mean = [(a + b)[0] / 2 for a, b in zip(one, other)]
    made = decoded(model, latents.expand(8000, -1), rule_of("neutral", ("shape",), model), stream())
    codes = model.bins.codes(made.rows, made.labels)
    for place, name in enumerate(model.bins.names):
        shares = torch.bincount(codes[made.groups == 0, place], minlength=model.bins.sizes[place]).float()
        shares = shares / shares.sum()
        sought = mean[place] if name in ("shape", "class") else one[place][0]
        assert torch.allclose(shares, sought, atol=0.04), name


def test_own_is_the_group_that_the_encoder_would_have_seen() -> None:
    model = leaning()
    latents, groups = model.cycled(3000, stream(5))
    taken = likeness(model, latents, stream()).argmax(1)
    assert float((taken == groups).float().mean()) > 0.9
    made = decoded(model, latents, rule_of("own", (), model), stream())
    assert float((made.groups == groups).float().mean()) > 0.85


@pytest.mark.parametrize(
    ("rule", "proxies", "word"),
    [
        ("neutrl", (), "neutral"), ("fixed", (), "fixed:GROUP"), ("fixed:blue", (), "others"),
        ("own:red", (), "fixed:GROUP"), ("marginal", ("shape",), "neutral"), ("neutral", ("shap",), "shape"),
    ],
)  # fmt: skip
def test_a_wrong_rule_is_told_the_right_one(rule: str, proxies: tuple[str, ...], word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        rule_of(rule, proxies, make_autoencoder())
