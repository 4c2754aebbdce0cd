"""A stranger's ONNX classifier of text direction, distilled into a small student of ours and judged on rendered text.

    python benchmarks/text_direction.py MODEL.onnx --out FOLDER [--steps 3000]

MODEL.onnx is PaddleOCR's classifier as the package rapidocr-onnxruntime ships it (image x 2 classes: upright, turned).
Nothing of its training data is at hand. The student learns on lines of random letters that are rendered here; both are
judged on lines of English words in other fonts, upright and turned by 180 degrees. Last, the student leaves as INT8.
"""

from __future__ import annotations

import argparse
import json
from itertools import pairwise
from pathlib import Path

import matplotlib
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import nn

import sansdata

SHAPE = (3, 48, 192)
LEARNT = (
    "DejaVuSans.ttf", "DejaVuSansMono.ttf", "DejaVuSans-Bold.ttf", "DejaVuSansMono-Oblique.ttf", "cmr10.ttf",
    "cmss10.ttf", "cmtt10.ttf", "cmb10.ttf",
)  # fmt: skip
JUDGED = ("DejaVuSerif.ttf", "STIXGeneral.ttf", "DejaVuSerif-Bold.ttf", "DejaVuSans-Oblique.ttf")
LETTERS = 4 * "abcdefghijklmnopqrstuvwxyz" + "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,-"
POOL = 20_000
"""Lines to learn from."""
WORDS = (
    "time person year way day thing man world life hand part child eye woman place work week case point government "
    "company number group problem fact water light paper river street window letter morning garden picture summer"
)
TASK = {
    "shape": list(SHAPE), "classes": 2, "mean": [0.5] * 3, "std": [0.5] * 3,
    "class_names": ["upright", "turned"],
}  # fmt: skip


def line(text: str, font: str, random: np.random.Generator, anywhere: bool) -> np.ndarray:
    """uint8 (H, W, 3): dark text on a bright ground or the reverse, as high as the line.

    anywhere: the ink may lie anywhere in it. Else it begins at the left and stands where the font has it, as text is
    set; a student that learns on such lines learns their places and no letters: of a font that stands lower it then
    named 1 % right.
    """
    height, width = SHAPE[1:]
    ground, ink = random.integers(170, 256), random.integers(0, 90)
    if random.random() < 0.3:
        ground, ink = ink, ground
    size = int(height * random.uniform(0.58 if anywhere else 0.62, 0.8))
    drawn = Image.new("L", (width, height), int(ground))
    face = ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / font), size)
    if anywhere:
        left, top, right, bottom = face.getbbox(text)
        room = width - (right - left), height - (bottom - top)
        place = tuple(int(random.integers(min(0, free), max(0, free) + 1)) for free in room)
        place = (place[0] - left, place[1] - top)
    else:
        place = (int(random.integers(1, 8)), int((height - 1.25 * size) / 2 + random.integers(-1, 2)))
    ImageDraw.Draw(drawn).text(place, text, fill=int(ink), font=face)
    noisy = np.asarray(drawn, dtype=np.float32) + random.normal(0, 4, (height, width))
    return np.repeat(noisy.clip(0, 255).astype(np.uint8)[..., None], 3, 2)


def lines(count: int, fonts: tuple[str, ...], words: bool, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(N, H, W, 3) and 1 where a line was turned, half of them."""
    random = np.random.default_rng(seed)
    images, labels = [], np.arange(count) % 2
    for label in labels:
        if words:
            text = " ".join(random.choice(WORDS.split(), 2))
        else:
            text = "".join(random.choice(list(LETTERS + " " * 16), int(random.integers(5, 14))))
        image = line(text, str(random.choice(fonts)), random, anywhere=not words)
        images.append(image[::-1, ::-1] if label else image)
    return np.stack(images), labels


def student() -> nn.Module:
    """Five convolutions of stride 2 with BatchNorm: 100,000 numbers, 8 million multiplications a line. The last sees
    63 pixels, a whole letter and what is around it; of four, the last sees 31 and no letter whole."""
    parts: list[nn.Module] = []
    for before, after in pairwise((SHAPE[0], 16, 32, 64, 64, 64)):
        parts += [nn.Conv2d(before, after, 3, 2, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--method", default="pool-kd")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    args.out.mkdir(parents=True)
    torch.manual_seed(args.seed)
    judged, labels = lines(1000, JUDGED, True, 1000 + args.seed)
    np.savez(args.out / "judged.npz", x=judged, y=labels)
    pool, _ = lines(POOL, LEARNT, False, args.seed)
    np.savez(args.out / "pool.npz", x=pool)
    teacher = sansdata.evaluate(args.model, args.out / "judged.npz", TASK).accuracy
    print(f"teacher on {len(labels)} lines of words: {teacher:.1%}", flush=True)
    noise = args.method == "noise"
    run = sansdata.distill(
        args.model, student(), args.method, f"{args.steps}steps", args.out / "run", args.seed, task=TASK, strict=True,
        pool=None if noise else str(args.out / "pool.npz"), settings={"threads": 1},
        options={"transfer": {"batch": 64, "lr": 0.05, "temperature": 1.0}} | ({} if noise else {"view": "none"}),
    )  # fmt: skip
    ours = sansdata.evaluate(run, args.out / "judged.npz").accuracy
    print(f"student by {args.method}: {ours:.1%}", flush=True)
    done = sansdata.export(run, "onnx-int8")
    int8 = sansdata.evaluate(done.file, args.out / "judged.npz", TASK)
    print(f"student as INT8: {int8.accuracy:.1%}, {done.size:,} bytes against {done.float_size:,}; the teacher has "
          f"{Path(args.model).stat().st_size:,}", flush=True)  # fmt: skip
    print(json.dumps({"teacher": teacher, "student": ours, "int8": int8.accuracy, "bytes": done.size}))


if __name__ == "__main__":
    main()
