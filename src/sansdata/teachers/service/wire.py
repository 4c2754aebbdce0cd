"""What goes over the wire: images out, answers in. Nothing that comes in is believed before it is checked.

A request is {"format", "shape", "inputs": [{"id", "data"}]}, data in base64: a PNG, or float32 numbers (C, H, W) in
0..1, little-endian. The answer is {"answers": [...], "version": text}, in order, or in any where each has its "id". One
answer is {"probabilities": [...]}, {"logits": [...]}, {"top": [[class, probability], ...]}, {"label": class}, or
{"error": text}. Probabilities and logits may also be {class: number}, logits of all classes; a class is its number, or
its name in the task.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ...decoding import pixels
from ...errors import TeacherError
from . import answers
from .offer import Offer

Answer = list[float]
"""One answer as it is kept: the numbers of all classes, or a class; of the likeliest ones classes and probabilities in
turn. Plain data, so that the first answer and the one out of the journal are the same."""


LARGEST = float(np.finfo(np.float32).max)
"""Of a number that is read: logits are kept in float32."""


class Failed(Exception):
    """The service says that it could not answer for one of several inputs."""


def encoded(images: Tensor, offer: Offer) -> list[bytes]:
    """images (B, C, H, W) in unit space -> the exact bytes that are sent of each."""
    if offer.inputs == "float32":
        return [image.astype("<f4").tobytes() for image in images.detach().float().clamp(0, 1).cpu().numpy()]
    return [_png(image) for image in pixels.pack(images).permute(0, 2, 3, 1).contiguous().numpy()]


def _png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def question(data: Sequence[bytes], shape: Sequence[int], offer: Offer) -> bytes:
    """The body of a request; its ids are the places 0..n-1."""
    inputs = [{"id": place, "data": base64.b64encode(one).decode()} for place, one in enumerate(data)]
    return json.dumps({"format": offer.inputs, "shape": list(shape), "inputs": inputs}).encode()


def read(body: bytes, count: int, offer: Offer, names: Sequence[str], classes: int) -> list[Answer | Failed]:
    """The answers to `count` inputs, in their order. Raises TeacherError for everything that is no such answer, and for
    one of another version of the model."""
    try:
        fields: Any = json.loads(body)
        listed, version = fields["answers"], fields.get("version", "")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise TeacherError('it answered with something else than {"answers": [...]}') from None
    if offer.version and version != offer.version:
        raise TeacherError(
            f"it is version '{str(version)[:60]}' now, and was '{offer.version[:60]}': answers of two models are not "
            "mixed. Write the new version into the file of the service; what is kept of the old one stays apart"
        )
    if not isinstance(listed, list) or len(listed) != count:
        actual = len(listed) if isinstance(listed, list) else type(listed).__name__
        raise TeacherError(f"it answered {count} inputs with {actual} answers")
    places = {name: place for place, name in enumerate(names)}
    known = _class_of(places, classes)
    return [_answer(one, offer, known, classes) for one in _in_order(listed, count)]


def _in_order(listed: list[Any], count: int) -> list[Any]:
    """By their ids, where they have some."""
    ids: list[Any] = [one.get("id") if isinstance(one, dict) else None for one in listed]
    if all(one is None for one in ids):
        return listed
    if any(isinstance(one, bool) or not isinstance(one, int) for one in ids) or sorted(ids) != list(range(count)):
        raise TeacherError("the ids of its answers are not those of the inputs")
    return [listed[ids.index(place)] for place in range(count)]


def _class_of(places: Mapping[str, int], classes: int) -> Callable[[Any], int]:
    def number(named: Any) -> int:
        if isinstance(named, str) and named in places:
            return places[named]
        if isinstance(named, str) and named.isascii() and named.isdigit() and len(named) < 10:
            named = int(named)
        if isinstance(named, bool) or not isinstance(named, int) or not 0 <= named < classes:
            raise TeacherError(f"it named the class {str(named)[:40]!r}, which the task does not have")
        return named

    return number


def _answer(one: Any, offer: Offer, known: Callable[[Any], int], classes: int) -> Answer | Failed:
    if not isinstance(one, dict):
        raise TeacherError(f"one of its answers is {type(one).__name__}, no mapping")
    if "error" in one:
        return Failed(str(one["error"])[:200])
    field = {"top-k": "top", "labels": "label"}.get(offer.answers, offer.answers)
    if field not in one:
        raise TeacherError(f"its answer has no '{field}', which its file says that it shows (answers: {offer.answers})")
    value = one[field]
    if field == "label":
        return [float(known(value))]
    if field == "top":
        return _likeliest(value, offer, known, classes)
    if isinstance(value, dict):
        value = _by_class(value, field, known, classes)
    if not isinstance(value, list) or len(value) != classes:
        actual = len(value) if isinstance(value, list) else type(value).__name__
        raise TeacherError(f"its '{field}' are {actual} and not {classes}, the classes of the task")
    numbers = [_number(part) for part in value]
    if field == "probabilities":
        logits_of([numbers], offer, classes)  # raises
    return numbers


def _by_class(value: Mapping[Any, Any], field: str, known: Callable[[Any], int], classes: int) -> list[Any]:
    """Of a mapping of classes. One that is missing has probability 0, as services leave out what is rare; logits are of
    all of them, for 0 is as good as any other there."""
    numbers = {known(named): number for named, number in value.items()}
    if len(numbers) < len(value):
        raise TeacherError(f"its '{field}' name a class twice")
    if field == "logits" and len(numbers) < classes:
        raise TeacherError(f"its 'logits' name {len(numbers)} of the {classes} classes; all of them are needed")
    return [numbers.get(place, 0.0) for place in range(classes)]


def _likeliest(value: Any, offer: Offer, known: Callable[[Any], int], classes: int) -> Answer:
    pairs = isinstance(value, list) and all(isinstance(one, list) and len(one) == 2 for one in value)
    if not pairs or not 0 < len(value) <= min(offer.top, classes):
        raise TeacherError(f"its 'top' is no list of at most {offer.top} pairs of class and probability")
    named = [known(one[0]) for one in value]
    shares = [_number(one[1]) for one in value]
    if len(set(named)) < len(named):
        raise TeacherError("its 'top' names a class twice")
    kept = [part for pair in zip(map(float, named), shares) for part in pair]
    logits_of([kept], offer, classes)  # raises
    return kept


def _number(value: Any) -> float:
    good = not isinstance(value, bool) and isinstance(value, (int, float))
    if not good or not abs(value) <= LARGEST:
        raise TeacherError(f"it answered with {str(value)[:20]!r} where a number belongs")
    return float(value)


def logits_of(kept: Sequence[Answer], offer: Offer, classes: int) -> Tensor:
    """Logits (B, K) float32 of answers as they are kept. Raises TeacherError where they are none of this offer."""
    try:
        if offer.answers == "labels":
            return answers.of_labels(torch.tensor([int(one[0]) for one in kept]), classes)
        if offer.answers == "top-k":
            rows = [answers.spread(torch.tensor([one[::2]]).long(), torch.tensor([one[1::2]]), classes) for one in kept]
            return answers.of_probabilities(torch.cat(rows), offer.decimals)
        numbers = torch.tensor(kept, dtype=torch.float64).reshape(len(kept), classes)
    except (ValueError, TypeError, IndexError, RuntimeError):
        raise TeacherError("what is kept of its answers is none of this service; move its journal away") from None
    return answers.of_probabilities(numbers, offer.decimals) if offer.answers == "probabilities" else numbers.float()
