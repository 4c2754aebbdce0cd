"""Masks: answers of several forms, faults told, figures held against plain definitions, bytes that come back."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from tiny import WORLDS

from sansdata.contracts import Outputs
from sansdata.figures import Picture, values
from sansdata.kinds.index import output_kind
from sansdata.kinds.outputs import mask_metrics as metrics
from sansdata.kinds.outputs.masks import Masks
from sansdata.tasks import VOID, MasksSpec, load_task
from sansdata.training.transfer import TransferSettings

SIZE = (6, 7)


def kind(classes: int = 3, size: tuple[int, ...] = SIZE) -> Masks:
    return Masks(MasksSpec(classes=classes, size=size))


def answers(count: int = 4, classes: int = 3, size: tuple[int, ...] = SIZE, seed: int = 0) -> torch.Tensor:
    return 3 * torch.randn(count, classes, *size, generator=torch.Generator().manual_seed(seed))


def test_a_mask_has_the_size_of_its_image_unless_the_task_says_another() -> None:
    task: dict[str, Any] = {"kind": "segmentation", "shape": [3, 12, 16], "classes": 5}
    assert load_task(task).outputs.size == (12, 16)
    sides = {"inputs": {"kind": "image", "shape": [3, 12, 16]}, "outputs": {"kind": "masks", "classes": 5}}
    assert load_task(sides) == load_task(task)
    assert load_task(task | {"size": [3, 4]}).outputs.size == (3, 4)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"size": [3]}, "size must be"),
        ({"size": [0, 4]}, "size must be"),
        ({"classes": 1}, "classes"),
        ({"class_names": ["a"]}, "1 names for 5"),
    ],
)
def test_a_wrong_task_is_told(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(Exception, match=words):
        load_task({"kind": "segmentation", "shape": [3, 12, 16], "classes": 5} | wrong)


def test_masks_of_rows_need_a_size() -> None:
    rows = {"kind": "table", "columns": [{"name": "a", "range": [0, 1]}]}
    with pytest.raises(Exception, match="masks belong to images"):
        load_task({"inputs": rows, "outputs": {"kind": "masks", "classes": 2}})


def test_one_map_of_two_classes_is_read_as_its_sigmoid() -> None:
    one = answers(classes=1)
    read = kind(2).read({"out": one, "aux": torch.zeros(4, 1, *SIZE)})
    assert read.shape == (4, 2, *SIZE)
    assert torch.allclose(read.softmax(1)[:, 1:], one.sigmoid())
    assert kind(2).faults(one, 4) == []


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (torch.zeros(4, 3), "a classifier"),
        (torch.zeros(4, 3, 6, 7, dtype=torch.int64), "not labels"),
        (torch.zeros(3, 3, 6, 7), "expected"),
        (torch.zeros(4, 5, 6, 7), "gives 5 classes and the task has 3"),
        (torch.zeros(4, 3, 3, 4), r"masks are \[3, 4\] and the task's \[6, 7\]"),
        ({"boxes": torch.zeros(4, 4)}, "returned dict"),
    ],
)
def test_what_is_no_mask_is_told(raw: Any, words: str) -> None:
    (fault,) = kind().faults(raw, 4)
    assert __import__("re").search(words, fault), fault


def test_a_teacher_that_answers_probabilities_or_one_mask_to_all_is_told() -> None:
    name, several = str, answers()
    assert kind().judge(several, name) == ("logits", [], [])
    assert "softmax" in kind().judge(several.softmax(1), name)[1][0]
    assert "sigmoid" in kind(2).judge(kind(2).read(answers(classes=1).sigmoid()), name)[1][0]
    assert "same mask" in kind().judge(several[:1].expand(4, -1, -1, -1), name)[1][0]
    assert "not finite" in kind().judge(several / 0, name)[1][0]
    far = several + 100 * torch.eye(3)[0].view(1, 3, 1, 1)
    assert "pure noise" in kind().judge(far, name)[2][0]


@pytest.mark.parametrize("match", ["kl", "l1", "mse"])
def test_the_loss_of_a_mask_is_the_mean_over_its_pixels_of_that_of_classes(match: Any) -> None:
    student, teacher = answers(seed=0), answers(seed=1)
    how = TransferSettings(match=match, temperature=2.0)
    dense = kind().match(Outputs(student), Outputs(teacher), how)
    rows = [one.permute(0, 2, 3, 1).reshape(-1, 3) for one in (student, teacher)]
    wanted = how.matching(Outputs(rows[0]), Outputs(rows[1])).view(4, -1).mean(1)
    assert dense.shape == (4,)
    assert torch.allclose(dense, wanted, atol=1e-5)


def test_agreement_is_best_with_oneself() -> None:
    same, apart = (kind().agreement(answers(), answers(seed=seed)) for seed in (0, 1))
    assert same["agreement"] == same["overlap"] == pytest.approx(1)
    assert same["kl"] == pytest.approx(0, abs=1e-6)
    assert max(apart["agreement"], apart["overlap"]) < 0.9
    assert apart["kl"] > 0.1


@pytest.mark.parametrize("classes", [2, 3])
def test_kept_answers_are_bytes_that_come_back(classes: int) -> None:
    own, several = kind(classes), answers(classes=classes)
    packed = own.pack(several)
    assert packed.dtype == torch.uint8
    assert packed.shape == (4, 1 if classes == 2 else 3, *SIZE)
    assert (own.pack(own.unpack(packed)).int() - packed.int()).abs().max() <= (0 if classes == 2 else 1)
    back = own.from_array(packed.numpy(), 4)
    assert back is not None
    assert (back.softmax(1) - several.softmax(1)).abs().max() < 1.6 / 255
    assert own.from_array(packed.numpy(), 3) is None
    assert own.from_array(several.numpy(), 4) is None


# -- figures


def blobs(count: int, classes: int, seed: int, size: tuple[int, int] = (20, 24)) -> np.ndarray:
    noise = torch.randn(count, classes, 4, 4, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(noise, size, mode="bilinear").argmax(1).numpy().astype(np.uint8)


def logits_of(masks: np.ndarray, classes: int) -> np.ndarray:
    return np.moveaxis(np.eye(classes, dtype=np.float32)[masks], -1, 1)


def test_overlaps_are_those_of_their_definition_and_void_does_not_count() -> None:
    truth, said = blobs(5, 3, 0), blobs(5, 3, 1)
    truth[:, :3] = VOID
    figures = values(kind(3, (20, 24)).evaluate(logits_of(said, 3), truth, logits_of(blobs(5, 3, 2), 3)))
    counted = truth != VOID
    ious, dices = [], []
    for label in range(3):
        a, b = (truth == label)[counted], (said == label)[counted]
        ious.append((a & b).sum() / (a | b).sum())
        dices.append(2 * (a & b).sum() / (a.sum() + b.sum()))
    assert figures["iou_per_class"] == pytest.approx(ious)
    assert figures["mean_iou"] == pytest.approx(np.mean(ious))
    assert figures["mean_dice"] == pytest.approx(np.mean(dices))
    assert figures["pixel_accuracy"] == pytest.approx((truth == said)[counted].mean())
    assert 0 < figures["teacher_mean_iou"] < 1
    json.dumps([one.to_dict() for one in kind(3, (20, 24)).evaluate(logits_of(said, 3), truth)], allow_nan=False)


def border(mask: np.ndarray) -> np.ndarray:
    """(P, 2) places of pixels with a neighbour, of four, that is not of the mask."""
    around = np.pad(mask, 1)
    whole = around[:-2, 1:-1] & around[2:, 1:-1] & around[1:-1, :-2] & around[1:-1, 2:]
    return np.argwhere(mask & ~whole)


def test_boundary_figures_are_those_of_their_definition() -> None:
    for one, other in zip(blobs(6, 2, 3) == 1, blobs(6, 2, 4) == 1):
        apart = cdist(border(one), border(other))
        ways = apart.min(1), apart.min(0)
        assert metrics.hausdorff95(one, other) == pytest.approx(max(np.percentile(way, 95) for way in ways))
        recall, precision = ((way <= 2).mean() for way in ways)
        wanted = 2 * recall * precision / (recall + precision)
        assert metrics.boundary_f1(one, other) == pytest.approx(wanted)


def test_a_class_that_is_missed_costs_the_diagonal_and_one_that_is_absent_nothing() -> None:
    mask, empty = np.zeros((3, 4), bool), np.zeros((3, 4), bool)
    mask[1, 1] = True
    assert metrics.hausdorff95(mask, empty) == 5
    assert metrics.boundary_f1(mask, empty) == 0
    assert np.isnan(metrics.hausdorff95(empty, empty))


def test_a_perfect_answer_has_perfect_figures_and_frames_count_as_images() -> None:
    truth = blobs(6, 3, 0).reshape(2, 3, 20, 24)
    figures = values(kind(3, (3, 20, 24)).evaluate(logits_of(truth, 3), truth))
    assert figures["mean_iou"] == figures["boundary_f1"] == 1
    assert figures["hd95"] == 0


def test_a_class_that_is_only_imagined_costs_what_a_missed_one_does() -> None:
    """Ten images, half of them with a lesion: one student sees one in every healthy image, the other misses all."""
    truth, imagined = np.zeros((2, 10, 64, 64), np.uint8)
    truth[:5, 20:30, 20:30] = imagined[:5, 20:30, 20:30] = imagined[5:, 28:36, 28:36] = 1
    missed = np.zeros_like(truth)
    two = kind(2, (64, 64))
    of_imagined, of_missed = (values(two.evaluate(logits_of(guess, 2), truth)) for guess in (imagined, missed))
    diagonal = np.hypot(64, 64)
    assert of_imagined["hd95_per_class"][1] == pytest.approx(diagonal / 2)
    assert of_missed["hd95_per_class"][1] == pytest.approx(diagonal)
    assert of_imagined["boundary_f1"] < 0.8
    never = values(two.evaluate(logits_of(imagined[5:], 2), truth[5:]))
    assert never["hd95_per_class"][1] == pytest.approx(diagonal)


def test_samples_without_boundaries_are_warned_of() -> None:
    own, flat = kind(), torch.zeros(50, 3, *SIZE)
    flat[:, 1] = 5
    named = [one.name for one in own.warnings(values(own.describe(flat)), 1.0, 50, str)]
    assert named == ["empty masks"]
    some = answers(50)
    some[:, 2] = -9
    assert [one.name for one in own.warnings(values(own.describe(some)), 1.0, 50, str)] == ["classes that never occur"]
    assert own.warnings(values(own.describe(answers(50), answers(5))), 1.0, 50, str) == []


def test_contours_are_drawn_into_a_picture_in_a_colour_for_each() -> None:
    masks = np.zeros((2, 6, 7), np.uint8)
    masks[0, 2:4, 2:5] = 1
    said = {
        "teacher": torch.from_numpy(logits_of(masks, 3)),
        "student": torch.from_numpy(logits_of(masks[::-1].copy(), 3)),
    }
    pictures = kind().drawn([Picture(np.full((6, 7, 1), 90, np.uint8))] * 2, said)
    colours = [{tuple(pixel) for pixel in one.pixels.reshape(-1, 3).tolist()} for one in pictures]  # type: ignore[union-attr]
    assert [len(one) for one in colours] == [2, 2]
    assert colours[0] & colours[1] == {(90, 90, 90)}


def test_the_legend_names_each_one_s_colour() -> None:
    mask = np.zeros((2, 6, 7), np.uint8)
    mask[1, 2:4, 2:5] = 1
    whose = ("teacher", "student")
    only = {name: torch.from_numpy(logits_of(mask[place][None], 3)) for place, name in enumerate(whose)}
    (picture,) = kind().drawn([Picture(np.full((6, 7, 1), 90, np.uint8))], only)
    red, _, blue = max(picture.pixels.reshape(-1, 3).tolist(), key=lambda pixel: max(pixel))  # type: ignore[union-attr]
    assert blue > red, "the only contour is the student's"
    assert kind().legend(whose) == "Contours: orange the teacher's, blue the student's."


def test_the_world_of_masks_is_one_of_images() -> None:
    task = WORLDS["masks"].task
    assert task.pair == ("image", "masks")
    assert output_kind(task).signature() == ("masks", (4, 8, 8))


def test_mean_iou_is_that_of_the_classes_that_occur() -> None:
    counts = np.array([[6, 2, 0], [1, 3, 0], [0, 0, 0]])
    assert metrics.mean_iou(counts) == pytest.approx((6 / 9 + 3 / 6) / 2)
    counts[0, 2] = 3  # predicted, but nowhere true: it counts against class 0 only
    assert metrics.mean_iou(counts) == pytest.approx((6 / 12 + 3 / 6) / 2)
