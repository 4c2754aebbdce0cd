"""A service that answers for images as docs/black-box.md describes it, with faults that can be switched on.

It needs no web framework: `serve.py` puts it behind FastAPI, and the tests of sansdata behind the standard library.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

Predict = Callable[[np.ndarray], np.ndarray]
"""Images (B, C, H, W) float32 in 0..1 -> probabilities (B, K)."""


@dataclass
class Reply:
    """drop: the connection is closed in place of an answer. announced: bytes that the header promises, where that is
    not the truth. endless: the body is repeated until nobody listens any more."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    drop: bool = False
    announced: int | None = None
    endless: bool = False


@dataclass
class Service:
    """shows: 'probabilities', 'logits', 'top-k' (the `top` likeliest) or 'labels'. decimals: to which probabilities are
    rounded. names: of the classes; then it names them. faults: one for each request to come; 'none' is well."""

    predict: Predict
    shows: str = "probabilities"
    top: int = 3
    decimals: int | None = None
    names: Sequence[str] = ()
    version: str = "1"
    key: str = ""
    faults: list[str] = field(default_factory=list)
    requests: int = 0
    samples: int = 0

    def reply(self, body: bytes, authorization: str = "") -> Reply:
        self.requests += 1
        fault = self.faults.pop(0) if self.faults else "none"
        if self.key and authorization != f"Bearer {self.key}":
            return Reply(401, b'{"error": "who are you?"}')
        if fault in BEFORE:
            return BEFORE[fault]()
        try:
            images = decoded(json.loads(body))
        except (ValueError, KeyError, TypeError, OSError) as reason:
            return Reply(422, json.dumps({"error": str(reason)[:200]}).encode())
        self.samples += len(images)
        answers = [self.shown(row) for row in np.asarray(self.predict(images), dtype=np.float64)]
        whole = {"version": self.version, "answers": answers}
        if fault in AFTER:
            AFTER[fault](whole)
        data = json.dumps(whole).encode()
        return WIRE[fault](data) if fault in WIRE else Reply(200, data)

    def shown(self, row: np.ndarray) -> dict[str, object]:
        """One answer, of probabilities (K,)."""
        rounded = row if self.decimals is None else row.round(self.decimals)
        if self.shows == "labels":
            return {"label": self.named(int(row.argmax()))}
        if self.shows == "top-k":
            likeliest = np.argsort(-row)[: self.top]
            return {"top": [[self.named(int(place)), float(rounded[place])] for place in likeliest]}
        if self.shows == "logits":
            return {"logits": np.log(np.maximum(row, 1e-30)).tolist()}
        if self.names:
            return {"probabilities": {self.named(place): float(share) for place, share in enumerate(rounded)}}
        return {"probabilities": rounded.tolist()}

    def named(self, place: int) -> object:
        return self.names[place] if self.names else place


def decoded(question: dict) -> np.ndarray:
    """Images (B, C, H, W) float32 in 0..1 of a question. Raises ValueError and its like for what is none."""
    channels, height, width = shape = tuple(int(size) for size in question["shape"])
    rows = []
    for one in question["inputs"]:
        data = base64.b64decode(one["data"], validate=True)
        if question["format"] == "float32":
            rows.append(np.frombuffer(data, "<f4").reshape(shape))
            continue
        picture = Image.open(io.BytesIO(data), formats=["PNG"])
        if picture.size != (width, height):
            raise ValueError(f"an image of {picture.size}; expected {(width, height)}")
        array = np.asarray(picture, dtype=np.float32).reshape(height, width, channels) / 255
        rows.append(array.transpose(2, 0, 1))
    return np.stack(rows).astype(np.float32)


# -- faults: of services that one meets, and of some that one hopes not to


def _each(change: Callable[[dict], object]) -> Callable[[dict], object]:
    """A change of the first answer alone."""
    return lambda whole: change(whole["answers"][0])


def _numbers(change: Callable[[list], object]) -> Callable[[dict], object]:
    return _each(lambda answer: change(answer["probabilities"]))


BEFORE: dict[str, Callable[[], Reply]] = {
    "429": lambda: Reply(429, b"slow down", {"Retry-After": "0"}),
    "500": lambda: Reply(500, b"oops"),
    "503": lambda: Reply(503, b""),
    "400": lambda: Reply(400, b"no"),
    "redirect": lambda: Reply(302, b"", {"Location": "http://127.0.0.1:9/elsewhere"}),
    "reset": lambda: Reply(0, b"", drop=True),
    "html": lambda: Reply(200, b"<html>Please log in</html>"),
    "empty": lambda: Reply(200, b""),
    "list": lambda: Reply(200, b"[]"),
    "deep": lambda: Reply(200, b"[" * 100_000),
    "endless": lambda: Reply(200, b" " * 65_536, endless=True),
}
"""In place of an answer, and without work."""
AFTER: dict[str, Callable[[dict], object]] = {
    "nan": _numbers(lambda row: row.__setitem__(0, float("nan"))),
    "infinite": _numbers(lambda row: row.__setitem__(0, float("inf"))),
    "negative": _numbers(lambda row: row.__setitem__(0, -0.5)),
    "no-distribution": _numbers(lambda row: row.__setitem__(slice(None), [0.9] * len(row))),
    "short-row": _numbers(lambda row: row.pop()),
    "long-row": _numbers(lambda row: row.append(0.0)),
    "text": _numbers(lambda row: row.__setitem__(0, "0.1")),
    "truth-values": _numbers(lambda row: row.__setitem__(0, True)),
    "no-field": _each(lambda answer: answer.clear()),
    "fewer": lambda whole: whole["answers"].pop(),
    "more": lambda whole: whole["answers"].append(whole["answers"][0]),
    "mixed-up": lambda whole: whole.__setitem__(
        "answers", [{**one, "id": place} for place, one in enumerate(whole["answers"])][::-1]
    ),
    "same-ids": lambda whole: [one.__setitem__("id", 0) for one in whole["answers"]],
    "one-failed": lambda whole: whole["answers"].__setitem__(0, {"error": "out of memory"}),
    "unknown-class": _each(lambda answer: answer.__setitem__("label", "zebra")),
    "other-version": lambda whole: whole.__setitem__("version", "2"),
}
"""Of an otherwise good answer."""
WIRE: dict[str, Callable[[bytes], Reply]] = {
    "truncated": lambda data: Reply(200, data[: len(data) // 2]),
    "cut-off": lambda data: Reply(200, data[: len(data) // 2], announced=len(data)),
}
"""Of the bytes of a good answer."""
