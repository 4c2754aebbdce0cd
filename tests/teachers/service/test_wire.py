"""The reader of answers: whatever comes is an answer of this offer, or one error of ours."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sansdata.errors import TeacherError
from sansdata.teachers.service import wire
from sansdata.teachers.service.offer import Offer

OFFERS = [Offer(model="m", answers=answers, top=2) for answers in ("probabilities", "logits", "top-k", "labels")]  # type: ignore[arg-type]
FIELDS = st.sampled_from(["probabilities", "logits", "top", "label", "id", "error", "cat"])
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
    | st.sampled_from(["probabilities", "label", "top", "id", "cat"]),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(FIELDS, inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@pytest.mark.parametrize("offer", OFFERS, ids=lambda offer: offer.answers)
@given(answers=st.lists(PLAIN, max_size=3), version=PLAIN)
@settings(max_examples=60, deadline=None)
def test_any_json_is_read_or_refused(offer, answers, version):
    body = json.dumps({"answers": answers, "version": version}).encode()
    try:
        read = wire.read(body, len(answers), offer, ("cat", "dog", "cow"), 3)
    except TeacherError:
        return
    good = [one for one in read if not isinstance(one, wire.Failed)]
    if good:
        assert torch.isfinite(wire.logits_of(json.loads(json.dumps(good)), offer, 3)).all()


@pytest.mark.parametrize(
    ("offer", "answer", "message"),
    [
        (1, '{"logits": [1%s, 0, 0]}' % ("0" * 400), "where a number belongs"),
        (1, '{"logits": [1e39, 0, 0]}', "where a number belongs"),
        (2, '{"top": [[0, 1%s]]}' % ("0" * 400), "where a number belongs"),
        (1, '{"logits": {"cat": -9.0, "dog": -7.5}}', "name 2 of the 3 classes"),
        (1, '{"logits": {"cat": -9.0, "dog": -7.5, "0": 1.0}}', "name a class twice"),
        (0, '{"probabilities": {"cat": 0.5, "0": 0.5}}', "name a class twice"),
        (2, '{"top": [[0, 0.605], [1, 0.4]]}', "no distribution.*decimals:"),
        (2, '{"top": [[0, -0.1], [1, 0.4]]}', "no distribution"),
        (0, '{"probabilities": [0.6, 0.405, 0]}', "decimals:"),
    ],
)  # fmt: skip
def test_what_is_misread_is_refused_before_it_is_kept(offer: int, answer: str, message: str) -> None:
    with pytest.raises(TeacherError, match=message):
        wire.read(f'{{"answers": [{answer}]}}'.encode(), 1, OFFERS[offer], ("cat", "dog", "cow"), 3)


def test_rounding_that_is_named_is_allowed_for() -> None:
    rounded, body = (
        Offer(model="m", answers="top-k", top=2, decimals=2),
        b'{"answers": [{"top": [[0, 0.61], [1, 0.4]]}]}',
    )
    assert wire.read(body, 1, rounded, (), 3) == [[0.0, 0.61, 1.0, 0.4]]
    whole = Offer(model="m", answers="logits")
    assert wire.read(b'{"answers": [{"logits": {"2": 3, "0": 1, "1": -2}}]}', 1, whole, (), 3) == [[1.0, -2.0, 3.0]]


@given(body=st.binary(max_size=60))
@settings(max_examples=100, deadline=None)
def test_any_bytes_are_read_or_refused(body):
    with pytest.raises(TeacherError):
        wire.read(body, 2, OFFERS[0], (), 3)


@pytest.mark.parametrize("sent", ["png", "float32"])
@pytest.mark.parametrize("shape", [(1, 5, 7), (3, 4, 4)])
def test_images_arrive_as_they_were_sent(sent, shape):
    from loopback_service import example

    offer = Offer(model="m", inputs=sent)
    images = (torch.rand(3, *shape, generator=torch.Generator().manual_seed(1)) * 255).round() / 255
    body = wire.question(wire.encoded(images, offer), shape, offer)
    assert torch.equal(torch.from_numpy(example().decoded(json.loads(body))), images)


@pytest.mark.parametrize("kept", [[[1.0]], [["a", 0.1, 0.2]], [[]], [[0.1, 0.2, 0.3], [0.5]], [None]])
def test_a_journal_of_something_else_is_said(kept):
    with pytest.raises(TeacherError, match=r"journal|distribution|class"):
        wire.logits_of(kept, OFFERS[0], 3)
