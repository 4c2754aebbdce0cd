"""A network that answers as a service would: what the offer lets through, and what each question costs."""

from __future__ import annotations

from decimal import Decimal

import pytest
import torch

from sansdata.contracts import Access
from sansdata.errors import BudgetSpent, TeacherError
from sansdata.kinds.index import input_kind
from sansdata.teachers.service.answers import LABEL_LOGIT, of_labels, of_probabilities, spread
from sansdata.teachers.specs import declared_files, load_teacher
from sansdata.testing.worlds import WORLDS

WORLD = WORLDS["image"]


@pytest.fixture
def offered(tmp_path):
    """Lines of an offer -> the teacher, whose network is the world's."""

    def make(lines: str = ""):
        WORLD.save(tmp_path / "weights.safetensors")
        file = tmp_path / "service.yaml"
        file.write_text(f"model: {WORLD.spec(tmp_path / 'weights.safetensors')}\n{lines}")
        return load_teacher(str(file), WORLD.task)

    return make


def images(count: int = 12) -> torch.Tensor:
    return torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(2))


def exact(count: int = 12) -> torch.Tensor:
    return WORLD.teacher()(images(count)).logits


def test_probabilities_are_those_of_the_network_and_their_logits_have_mean_0(offered):
    logits = offered("inputs: float32")(images()).logits
    torch.testing.assert_close(logits.softmax(1), exact().softmax(1), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(logits.mean(1), torch.zeros(12), rtol=0, atol=1e-5)


def test_inputs_of_8_bits_are_rounded_before_they_are_answered(offered):
    teacher, kind = offered("inputs: png\nanswers: logits"), input_kind(WORLD.task)
    assert teacher.levels == 255
    stored = kind.unpack(kind.pack(images()))
    assert isinstance(stored, torch.Tensor)
    torch.testing.assert_close(teacher(images()).logits, WORLD.teacher()(stored).logits)
    torch.testing.assert_close(teacher(stored + 1 / 600).logits, teacher(stored).logits, rtol=0, atol=0)


@pytest.mark.parametrize(("decimals", "unit"), [(2, 0.01), (0, 1.0)])
def test_probabilities_are_rounded(offered, decimals, unit):
    shares = offered(f"inputs: float32\ndecimals: {decimals}")(images()).logits.double().softmax(1)
    rounded = exact().double().softmax(1).round(decimals=decimals).clamp_min(unit / 4)
    torch.testing.assert_close(shares, rounded / rounded.sum(1, keepdim=True), rtol=1e-4, atol=1e-6)


def test_of_the_likeliest_classes_alone_the_rest_is_shared_evenly(offered):
    shares = offered("inputs: float32\nanswers: top-k\ntop: 2")(images()).logits.softmax(1)
    true = exact().softmax(1)
    values, places = true.topk(2, dim=1)
    torch.testing.assert_close(shares.gather(1, places), values, rtol=1e-3, atol=1e-5)
    others = shares.scatter(1, places, float("nan"))
    left = others[~others.isnan()].view(12, 2)
    torch.testing.assert_close(left[:, 0], left[:, 1])


def test_labels_alone_are_labels(offered):
    teacher = offered("inputs: float32\nanswers: labels")
    assert teacher.access == Access.LABELS
    logits = teacher(images()).logits
    assert torch.equal(logits.argmax(1), exact().argmax(1))
    assert logits.unique().tolist() == [0.0, pytest.approx(LABEL_LOGIT)]


def test_it_is_only_asked_and_its_files_are_declared(offered, tmp_path):
    teacher = offered()
    assert teacher.access == Access.SCORES
    with pytest.raises(TeacherError, match="nobody looks inside"):
        _ = teacher.inside
    assert set(declared_files(str(tmp_path / "service.yaml"))) == {
        tmp_path / "service.yaml", tmp_path / "weights.safetensors",
    }  # fmt: skip


def test_samples_requests_and_money_are_counted_apart(offered):
    teacher = offered('batch: 5\nprice: {sample: "0.01", request: "0.5"}')
    teacher(images(12))
    assert teacher.meter is not None
    assert (teacher.meter.samples, teacher.meter.requests) == (12, 3)
    assert teacher.meter.money == Decimal("1.62")


@pytest.mark.parametrize(("limits", "passes"), [("samples: 20", 12), ("requests: 1", 12), ('money: "0.12"', 12)])
def test_nothing_is_asked_beyond_a_limit(offered, limits, passes):
    teacher = offered(f'price: {{sample: "0.01"}}\nlimits: {{{limits}}}')
    teacher(images(passes))
    with pytest.raises(BudgetSpent, match="limit"):
        teacher(images(12))
    assert teacher.meter is not None
    assert teacher.meter.samples == passes


def test_it_is_said_when_a_limit_comes_nearer(offered):
    teacher, told = offered("limits: {samples: 100}"), []
    teacher.meter.warn = told.append
    for _ in range(8):
        teacher(images(12))
    assert [line.partition(": ")[2][:9] for line in told] == ["60 of at ", "84 of at ", "96 of at "]


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ("version: a", "give url: of the service, or model:"),
        ("url: https://a.example/v1\nmodel: x", "give url: of the service, or model:"),
        ("url: https://a.example/v1", "permitted: true is missing"),
        ("model: my.package:build@w.pt", "names code"),
        ("model: service.yaml", "another service"),
        ("model: x\nanswers: everything", "answers"),
        ("model: x\nbach: 3", "Did you mean 'batch'"),
        ("model: x\nkey: HOME", "key"),
        ("model: x\nprice: {sample: -1}", "price.sample"),
        ("model: x\nlimits: {money: .nan}", "limits.money"),
        ("model: x\nbatch: 0", "batch"),
        ("- a", "expected 'name: value' lines"),
    ],
)
def test_a_wrong_offer_is_explained(tmp_path, lines, reason):
    file = tmp_path / "service.yaml"
    file.write_text(lines)
    with pytest.raises(TeacherError, match=reason):
        load_teacher(str(file), WORLD.task)


def test_other_jobs_are_refused(tmp_path):
    file = tmp_path / "service.yaml"
    file.write_text("model: x")
    with pytest.raises(TeacherError, match="images with classes"):
        load_teacher(str(file), WORLDS["table"].task)


# -- answers


def test_a_distribution_is_checked():
    good = torch.tensor([[0.2, 0.3, 0.5]])
    torch.testing.assert_close(of_probabilities(good).softmax(1), good)
    for bad in ([[0.2, 0.3, float("nan")]], [[0.9, 0.3, 0.5]], [[-0.5, 1.0, 0.5]], [[0.0, 0.0, 0.0]]):
        with pytest.raises(TeacherError):
            of_probabilities(torch.tensor(bad))
    with pytest.raises(TeacherError, match="class 7"):
        of_labels(torch.tensor([0, 7]), 3)


def test_a_probability_of_0_has_a_logarithm_below_what_rounding_hides():
    logits = of_probabilities(torch.tensor([[0.0, 0.01, 0.99]]), decimals=2)
    assert torch.isfinite(logits).all()
    assert logits.softmax(1)[0, 0].item() == pytest.approx(0.0025, rel=0.01)


def test_what_is_left_is_spread():
    whole = spread(torch.tensor([[2]]), torch.tensor([[0.7]]), 4)
    torch.testing.assert_close(whole, torch.tensor([[0.1, 0.1, 0.7, 0.1]], dtype=torch.float64))
