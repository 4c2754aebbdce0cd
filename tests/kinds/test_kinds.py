"""What every kind of the two tables keeps, asked in the tiny world of each pair."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics as sk
from tiny import WORLDS
from torch import Tensor

from sansdata import columns
from sansdata.deploy.export import export
from sansdata.errors import TaskError
from sansdata.figures import Drawing, Figure, Film, Picture, Record, Sound, Text, values
from sansdata.kinds.index import INPUTS, OUTPUTS, input_kind, kind_names, output_kind
from sansdata.kinds.inputs.table import Table
from sansdata.models.zoo import networks_of
from sansdata.network import Network
from sansdata.tasks import Column, PairTask, TableSpec, load_task
from sansdata.teachers.specs import resolve

PAIRS = [name for name in WORLDS if not name.startswith(("writer", "asker", "worded"))]
"""A world for each pair of kinds; those of writers have that of texts."""
SET_LIKE = ("classes", "masks", "multilabel")
"""Kinds of answers of which agreement is counted over a set of them."""
every_world = pytest.mark.parametrize("world", PAIRS)
STEMS = {
    "image": torch.nn.Conv2d(7, 3, 1), "masks": torch.nn.Conv2d(7, 3, 1), "clips": torch.nn.Conv2d(7, 3, 1),
    "table": torch.nn.Linear(99, 2), "tokens": torch.nn.Embedding(5, 2),
    "two-texts": torch.nn.Embedding(5, 2), "spans": torch.nn.Embedding(5, 2),
    "noise": torch.nn.Linear(99, 2),
    "latents": torch.nn.Linear(99, 2), "decoded": torch.nn.Linear(99, 2),
    "sounds": torch.nn.Conv2d(7, 3, 1), "tags": torch.nn.Conv2d(7, 3, 1), "transcripts": torch.nn.Conv2d(7, 3, 1),
    "panel": torch.nn.Conv2d(7, 3, 1),
}  # fmt: skip
"""The first layer of a network that was made for inputs of another size."""


def draws(world: str, count: int = 24, seed: int = 0, source: str = "") -> columns.Inputs:
    return input_kind(WORLDS[world].task).draw(count, torch.Generator().manual_seed(seed), source)


def test_every_kind_has_a_world() -> None:
    assert {world.task.pair[0] for world in WORLDS.values()} == set(INPUTS)
    assert {world.task.pair[1] for world in WORLDS.values()} == set(OUTPUTS)
    assert set(kind_names()) >= set(INPUTS) | set(OUTPUTS)


@every_world
def test_a_task_is_read_back_as_it_was_written(world: str) -> None:
    task = WORLDS[world].task
    written = json.loads(json.dumps(task.model_dump(mode="json")))
    assert load_task(written) == task
    assert hash(load_task(written)) == hash(task)
    assert task.seen_through(task.own_preprocessing) == task


@every_world
def test_what_is_drawn_is_varied_and_the_same_again(world: str) -> None:
    kind = input_kind(WORLDS[world].task)
    for source in kind.sources:
        one, again, other = draws(world, 24, 0, source), draws(world, 24, 0, source), draws(world, 24, 1, source)
        assert columns.same(one, again)
        assert not columns.same(one, other)
        assert columns.count(one) == 24
        rows = torch.cat([column.double().reshape(24, -1) for column in columns.parts(one)], 1)
        assert len(rows.unique(dim=0)) > 20
    before = torch.get_rng_state()
    draws(world)
    assert torch.equal(before, torch.get_rng_state())


@every_world
def test_what_is_stored_comes_back(world: str) -> None:
    """Packing what was unpacked changes nothing, in memory and in a file."""
    kind = input_kind(WORLDS[world].task)
    packed = kind.pack(draws(world))
    assert columns.same(kind.pack(kind.unpack(packed)), packed)
    arrays = kind.to_arrays(packed)
    assert list(arrays) == list(kind.signature()), "a file has other names than the arguments of an exported model"
    assert columns.same(kind.from_arrays(arrays), packed)
    inputs = draws(world)
    kind.pack(inputs)
    assert columns.same(inputs, draws(world)), "packing wrote into what it was given"


@every_world
def test_arrays_that_are_none_of_the_kind_are_refused(world: str) -> None:
    kind = input_kind(WORLDS[world].task)
    arrays = kind.to_arrays(kind.pack(draws(world)))
    for name, array in arrays.items():
        wrong: list[dict[str, Any]] = [{key: value for key, value in arrays.items() if key != name}]
        wrong += [arrays | {name: changed} for changed in (array[..., :-1][..., None], array.astype(np.complex64))]
        for broken in wrong:
            with pytest.raises(ValueError):
                kind.from_arrays(broken)


def test_values_beyond_the_task_are_refused_in_files() -> None:
    table, tokens = input_kind(WORLDS["table"].task), input_kind(WORLDS["tokens"].task)
    rows, texts = table.to_arrays(table.pack(draws("table"))), tokens.to_arrays(tokens.pack(draws("tokens")))
    with pytest.raises(ValueError, match="level"):
        table.from_arrays(rows | {"categories": rows["categories"] + 3})
    with pytest.raises(ValueError, match="id"):
        tokens.from_arrays(texts | {"tokens": texts["tokens"] - 1})


@every_world
def test_a_door_is_read_back_from_its_description(world: str) -> None:
    task = WORLDS[world].task
    door = Network.of(WORLDS[world].module(), task).preprocessor
    again = input_kind(task).preprocessor(json.loads(json.dumps(door.describe())))
    prepared = door(draws(world))
    assert columns.same(again(draws(world)), prepared)
    with pytest.raises(TaskError):
        input_kind(task).preprocessor({"door": "cellar"})


@every_world
def test_previews_show_every_sample(world: str) -> None:
    kind = input_kind(WORLDS[world].task)
    previews = kind.preview(kind.pack(draws(world, 5)))
    assert len(previews) == 5
    assert all(isinstance(one, Picture | Film | Sound | Text | Record) for one in previews)


@every_world
def test_findings_are_plain_json_and_named_once(world: str) -> None:
    kind = input_kind(WORLDS[world].task)
    findings = kind.statistics(kind.pack(draws(world, 50)))
    assert len(values(findings)) == len(findings)
    json.dumps([one.to_dict() for one in findings], allow_nan=False)
    assert kind.warnings(values(findings)) == []


@every_world
def test_samples_that_are_all_alike_are_warned_of(world: str) -> None:
    kind = input_kind(WORLDS[world].task)
    one = columns.take(kind.pack(draws(world)), torch.zeros(100, dtype=torch.int64))
    assert [warned.name for warned in kind.warnings(values(kind.statistics(one)))] == ["identical samples"]


@every_world
def test_a_module_of_another_size_is_told_what_is_expected(world: str) -> None:
    kind = input_kind(WORLDS[world].task)
    own = WORLDS[world].module()
    assert kind.hint(own) == ""
    assert kind.hint(STEMS[world]).startswith(". Its first ")


@every_world
def test_the_same_fault_of_a_teacher_reads_the_same_in_every_kind(world: str) -> None:
    kind = output_kind(WORLDS[world].task)
    one = torch.randn(1, *kind.signature()[1], generator=torch.Generator().manual_seed(0))
    (alike,) = kind.judge(one.expand(4, *one.shape[1:]), str)[1]
    words = r"the teacher gives the same \w+ to every input; its weights were not loaded, or it is collapsed"
    assert re.fullmatch(words, alike)
    for value, name in ((torch.nan, "NaN"), (torch.inf, "infinite")):
        broken = one.repeat(4, *[1] * (one.ndim - 1))
        broken[1].view(-1)[0] = value
        form, (fault,), _ = kind.judge(broken, str)
        assert form == "unknown"
        words = rf"the teacher gives \w+ that are not finite \({name}\) on 1 of 4 inputs; its weights are damaged or .*"
        assert re.fullmatch(words, fault)


@pytest.mark.parametrize("world", [name for name in PAIRS if WORLDS[name].task.pair[1] in SET_LIKE])
def test_the_same_answers_agree_best(world: str) -> None:
    kind = output_kind(WORLDS[world].task)
    sizes = kind.signature()[1]
    answers, other = (torch.randn(40, *sizes, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    same, apart = kind.agreement(answers, answers), kind.agreement(answers, other)
    assert same is not None
    assert apart is not None
    assert same["agreement"] == pytest.approx(1)
    assert same["overlap"] == pytest.approx(1)
    assert same["kl"] == pytest.approx(0, abs=1e-6)
    assert apart["agreement"] < 1
    assert apart["overlap"] < 1
    assert apart["kl"] > 0


@pytest.mark.parametrize("classes", [2, 4])
def test_figures_of_classes_against_scikit_learn(classes: int) -> None:
    task = PairTask(inputs=WORLDS["table"].task.inputs, outputs={"kind": "classes", "classes": classes})
    noise = np.random.default_rng(0)
    truth = noise.integers(0, classes, 300)
    logits = (noise.normal(size=(300, classes)) + 1.5 * np.eye(classes)[truth]).astype(np.float32)
    teacher = (logits + noise.normal(size=logits.shape)).astype(np.float32)
    figures = values(output_kind(task).evaluate(logits, truth, teacher))
    share = torch.from_numpy(logits).double().softmax(1).numpy()
    named = share.argmax(1)
    positive = share[:, 1] if classes == 2 else share
    assert figures["accuracy"] == pytest.approx(sk.accuracy_score(truth, named))
    assert figures["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(truth, named))
    assert figures["nll"] == pytest.approx(sk.log_loss(truth, share))
    wanted = sk.roc_auc_score(truth, positive, multi_class="ovr")
    assert figures["auroc"] == pytest.approx(wanted)
    one_hot = (truth == 1) if classes == 2 else np.eye(classes)[truth]
    assert figures["auprc"] == pytest.approx(sk.average_precision_score(one_hot, positive, average="macro"))
    assert figures["majority_share"] == pytest.approx(np.bincount(truth).max() / 300)
    assert figures["agreement"] == pytest.approx((teacher.argmax(1) == named).mean())
    assert figures["teacher_auroc"] > 0.5
    assert np.array(figures["confusion"]).tolist() == sk.confusion_matrix(truth, named).tolist()


def test_a_class_that_never_occurs_has_no_accuracy_and_no_ranking() -> None:
    truth, logits = np.array([0, 1, 1, 2]), np.eye(4, dtype=np.float32)[[0, 1, 2, 2]]
    findings = output_kind(WORLDS["table"].task).evaluate(logits, truth)
    figures = values(findings)
    assert figures["per_class"] == (1.0, 0.5, 1.0, None)
    assert "auroc" not in figures
    assert all(isinstance(one, Figure | Drawing) for one in findings)
    json.dumps([one.to_dict() for one in findings], allow_nan=False)


MORE_OF_THE_SAME = re.compile(r"convlstm-([34]x1$|.x[2-4]|3x1-skip|2x1-narrow$)|frames-(?!unet-small)")
"""Networks of clips that differ in size alone from one that is tried."""
PICTURES = ("plain-ddpm", "picture-net", "picture-net-small", "picture-denoiser")
"""Networks of noise in the shape of a picture, where the tiny world has points."""
RING = ("decoded", "ring")
"""A network of points of two numbers, and a world where points have more."""
NETWORKS = [
    (world, name) for world in PAIRS for name in networks_of(WORLDS[world].task.pair)
    if world != "image" and (world != "panel" or name == "conv4")  # the others are those of images
    and not MORE_OF_THE_SAME.match(name) and name not in PICTURES and (world, name) != RING
]  # fmt: skip
OF_COLUMNS = [(world, name) for world, name in NETWORKS if world in ("table", "tokens", "two-texts")]


SIZES = {"convlstm-2x1", "convlstm-3x1-forgets", "gru", "latent-mlp-small", "mel-cnn", "mlp-small", "mlp-wide",
         "point-net", "ring", "unet", "unet-wide"}  # fmt: skip
"""Networks that differ from another by their width alone."""
UNROLLED = {"recogniser"}
"""Whose exported graph has a decoder for each token."""
SOON = {
    world: [name for other, name in NETWORKS if other == world and name not in SIZES | UNROLLED]
    for world, _ in NETWORKS
}
FIRST = {world: names[:1] for world, names in SOON.items()}
"""World -> the network that stands for the others where a second format is written of the same trace."""


@pytest.mark.parametrize(
    ("to", "world", "name"),
    [
        pytest.param(to, world, name, marks=() if name in soon.get(world, ()) else pytest.mark.long)
        for to, soon in (("onnx", SOON), ("pt2", FIRST))
        for world, name in NETWORKS
    ],
)
def test_networks_leave_as_files_that_answer_alike(world: str, name: str, to: Any, tmp_path: Any) -> None:
    if to == "onnx":
        pytest.importorskip("onnxscript")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = resolve(name, WORLDS[world].task, pretrained=False)
    report = export(model.module.eval(), model.task, tmp_path / f"net.{to}", to)
    assert report.passed
    assert report.argmax_agreement == (None if world == "latents" else 1)


@pytest.mark.parametrize(("world", "name"), OF_COLUMNS)
def test_what_fills_a_text_or_a_missing_value_does_not_count(world: str, name: str) -> None:
    """Padding and the numbers behind missing values may be anything."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = resolve(name, WORLDS[world].task, pretrained=False)
    network = Network.of(model.module.eval(), model.task)
    inputs = draws(world)
    assert not isinstance(inputs, Tensor)
    if world == "tokens":
        changed = {**inputs, "tokens": torch.where(inputs["mask"], inputs["tokens"], inputs["tokens"] + 7)}
    elif world == "two-texts":
        changed = {**inputs, "first": torch.where(inputs["first_mask"], inputs["first"], inputs["first"] + 7)}
        changed["second"] = torch.where(inputs["second_mask"], inputs["second"], inputs["second"] + 7)
    else:
        gone = inputs["missing"][:, : inputs["numbers"].shape[1]]
        changed = {**inputs, "numbers": torch.where(gone, inputs["numbers"] + 5, inputs["numbers"])}
    assert not columns.same(inputs, changed)
    with torch.no_grad():
        assert torch.allclose(network(inputs).value, network(changed).value, atol=1e-6)


def test_pieces_are_how_far_a_number_has_come_through_equal_steps_of_its_logarithm() -> None:
    spec = TableSpec(columns=(Column(name="a", range=(10, 110), missing=True),))
    values = np.array([10.0, 10.1, 12, 60, 110, 500, -3])
    rows = {
        "numbers": torch.tensor(values, dtype=torch.float32)[:, None],
        "categories": torch.zeros(7, 0, dtype=torch.int64),
        "missing": torch.zeros(7, 1, dtype=torch.bool),
    }  # fmt: skip
    edges = 10 + 100 * (1000 ** (np.arange(17) / 16) - 1) / 999
    place = np.interp(np.log(1 + 999 * (values.clip(10, 110) - 10) / 100), np.linspace(0, np.log(1000), 17), range(17))
    wanted = (place[:, None] - np.arange(16)).clip(0, 1)
    door = Table(spec).preprocessor({"door": "pieces"})
    seen = door(rows)
    assert isinstance(seen, Tensor)
    assert np.allclose(seen[:, 2:].numpy(), wanted, atol=1e-5)
    assert torch.equal(seen[:, :2], Table(spec).preprocessor({})(rows))
    at_edges = door(rows | {"numbers": torch.tensor(edges[:7], dtype=torch.float32)[:, None]})
    assert torch.allclose(at_edges[:, 2:].sum(1), torch.arange(7.0), atol=1e-3)
    assert not door(rows | {"missing": torch.ones(7, 1, dtype=torch.bool)})[:, 2:].any()
