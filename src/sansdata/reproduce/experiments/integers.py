"""A network of depthwise-separable convolutions in INT8: wrecked and restored, and calibrated in several ways.

No student: an arm's accuracy is that of the ONNX file, by onnxruntime, on the test set. Of an arm's `experiment`:
calibrate ('dfq', 'zeroq', 'noise', 'real', a method with its `budget`, or 'none' for the float network), damaged
(channels scaled by exp(U(-4, 4)) and back in the next layer: the same function, and ranges no common grid can hold),
even_out, correct, per, and compare: also write torch's own INT8 program and compare the two.
Measures in percent: 'w4a4', simulated, by the same calibration;
'torch agrees', the share of test images on which the two programs name one class. 'logits change', of the folded and
evened network against the network, in thousandths of the largest logit; 'absorbed', percent of classes that absorption
changes; 'mean shift', what rounding adds to the mean of a layer's output, over its std, in percent, on real images;
'BatchNorm loss', of the distilled batch, in percent of that of noise.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, fx, nn

from ...api.quantize import as_images, calibration_inputs, ends_of
from ...compress import calibrate, dfq, equalize
from ...compress import quantize as few_bits
from ...compress.correct import channel_means
from ...compress.fold import fold_batch_norms
from ...compress.graph import CONVOLUTION, LINEAR, NetworkGraph
from ...datasets.images import holdout, load_images
from ...deploy.int8 import load_int8, write_int8
from ...deploy.int8_torchao import write_pt2
from ...network import Network
from ...streams import Streams
from ...synthesis.zeroq import distilled_batch
from ...tasks import ImageTask, load_task
from ...teachers.base import dissect
from ..recipes.model import Arm, Recipe
from ..supervised import tensors, train
from ..teachers import cache, keep_weights, training_set

EPOCHS = 2
REAL = 512
CHUNK = 500


def run(recipe: Recipe, arm: Arm, seed: int, teacher: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The figures of one arm; the test set is opened after everything is written."""
    task = load_task(recipe.task)
    assert isinstance(task, ImageTask)
    how, module = arm.experiment, trained(recipe, task, seed)
    if how.get("damaged"):
        damage(module, seed)
    network = Network.of(module, task)
    if how["calibrate"] == "none":
        images, labels = test_set(recipe, task)
        return _figures(_accuracy(lambda part: network(part).value, images, labels), {}, 0)
    inputs, measures = _inputs(how, network, task, recipe, seed)
    options = {name: how[name] for name in ("even_out", "correct") if name in how}
    per = how.get("per", "tensor")
    ready = dfq.make_ready(
        module, task.shape, inputs, ends_of(network), per, by_statistics=how["calibrate"] == "dfq", **options
    )  # fmt: skip
    write_int8(ready, task, folder / "int8.onnx", per)
    if how.get("damaged"):
        measures |= _of_the_algebra(module, task, inputs) | _mean_shift(network, ready, task, recipe)
    ask = load_int8(folder / "int8.onnx", "onnx")
    images, labels = test_set(recipe, task)
    if how.get("compare"):
        write_pt2(ready, task, folder / "int8.pt2", per)
        other = load_int8(folder / "int8.pt2", "pt2")
        measures["torch agrees"] = 100 * _same(ask, other, images)
    if not how.get("damaged"):
        fewer = few_bits.quantize(module, task.shape, 4, 4)
        calibrate.calibrate(fewer, module, inputs)
        measures["w4a4"] = 100 * _accuracy(lambda part: network.around(fewer)(part).value, images, labels)
    return _figures(_accuracy(ask, images, labels), measures, len(inputs))


def _figures(accuracy: float, measures: dict[str, float], samples: int) -> dict[str, Any]:
    return {"accuracy": accuracy, "steps": 0, "cost": {"samples": samples}, "measures": measures}


def _inputs(
    how: dict[str, Any], network: Network, task: ImageTask, recipe: Recipe, seed: int
) -> tuple[Tensor, dict[str, float]]:
    if how["calibrate"] == "real":
        inputs = network.preprocessor(real_images(recipe, seed))
        assert isinstance(inputs, Tensor)
        return inputs, {}
    if how["calibrate"] == "zeroq":
        norms = dissect(network, torch.rand(2, *task.shape)).batch_norms
        batch = distilled_batch(network, norms, task.shape, 64, Streams(seed)("calibration"))
        return as_images(network, batch.inputs), {"BatchNorm loss": 100 * batch.last / batch.first}
    return calibration_inputs(how["calibrate"], network, task, how.get("budget", "60s"), seed)[0], {}


def real_images(recipe: Recipe, seed: int) -> Tensor:
    """REAL training images (N, C, H, W) in 0..1, drawn for this seed."""
    images, _ = tensors(training_set(recipe))
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    return images[order[:REAL]].float() / 255


def test_set(recipe: Recipe, task: ImageTask) -> tuple[Tensor, Tensor]:
    """Images in 0..1 and labels."""
    images, labels = tensors(load_images(recipe.data, task))
    return images.float() / 255, labels


def _accuracy(ask: Any, images: Tensor, labels: Tensor) -> float:
    with torch.no_grad():
        classes = torch.cat([ask(part).argmax(1) for part in images.split(CHUNK)])
    return float((classes == labels).float().mean())


def _same(one: Any, other: Any, images: Tensor) -> float:
    with torch.no_grad():
        same = [one(part).argmax(1) == other(part).argmax(1) for part in images.split(CHUNK)]
    return float(torch.cat(same).float().mean())


# -- the network


class Separable(nn.Sequential):
    """A convolution, then depthwise-separable ones: 28 x 28 images to classes, with BatchNorm everywhere."""

    def __init__(self, channels: int, classes: int, widths: tuple[int, ...] = (16, 32, 64)) -> None:
        parts: list[nn.Module] = [*_normed(nn.Conv2d(channels, widths[0], 3, 2, 1, bias=False))]
        for before, after in pairwise(widths):
            parts += _normed(nn.Conv2d(before, before, 3, 2, 1, groups=before, bias=False))
            parts += _normed(nn.Conv2d(before, after, 1, bias=False))
        super().__init__(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], classes))


def _normed(layer: nn.Conv2d) -> list[nn.Module]:
    return [layer, nn.BatchNorm2d(layer.out_channels), nn.ReLU()]


def trained(recipe: Recipe, task: ImageTask, seed: int) -> nn.Module:
    """The network of this seed, trained on real images once and kept."""
    path = cache() / f"{recipe.data}-separable-{seed}.safetensors"
    with Streams(seed).as_global("teacher"):
        module: nn.Module = Separable(task.shape[0], task.classes)
    if path.is_file():
        module.load_state_dict(load_file(path))
        return module.eval()
    module = train(module, training_set(recipe), task, EPOCHS, view="crop", seed=seed)
    keep_weights(path, module)
    return module


def damage(module: nn.Module, seed: int) -> None:
    """Scales half of the channels of every BatchNorm by exp(U(-4, 4)), and what reads them by the inverse."""
    generator = torch.Generator().manual_seed(seed)
    parts = list(module.children())
    for place, norm in enumerate(parts):
        if not isinstance(norm, nn.BatchNorm2d):
            continue
        reader = next(part for part in parts[place:] if isinstance(part, (nn.Conv2d, nn.Linear)))
        count = norm.num_features
        scale = torch.exp(8 * torch.rand(count, generator=generator) - 4)
        scale[torch.randperm(count, generator=generator)[: count // 2]] = 1.0
        groups = reader.groups if isinstance(reader, nn.Conv2d) else 1
        with torch.no_grad():
            norm.weight.mul_(scale)
            norm.bias.mul_(scale)
            reader.weight.copy_(equalize.scale_inputs(reader.weight, 1 / scale, groups))


# -- what is measured of the means


def _of_the_algebra(module: nn.Module, task: ImageTask, inputs: Tensor) -> dict[str, float]:
    graph = NetworkGraph(module, task.shape)
    with torch.no_grad():
        before = module(inputs)
        known = fold_batch_norms(graph)
        chain = equalize.equalize(graph, known)
        evened = graph.module(inputs)
        equalize.absorb(graph, chain, known)
        absorbed = graph.module(inputs)
    change = 1000 * float((evened - before).abs().max() / before.abs().max())
    return {
        "logits change": change,
        "absorbed": 100 * float((absorbed.argmax(1) != evened.argmax(1)).float().mean()),
    }


def _mean_shift(network: Network, ready: dfq.Ready, task: ImageTask, recipe: Recipe) -> dict[str, float]:
    """On images that were held out of the training set, averaged over channels, then layers."""
    _, held_out = holdout(load_images(recipe.data, task, "train"), recipe.held_out, seed=0)
    inputs = network.preprocessor(tensors(held_out)[0][:REAL].float() / 255)
    reference = NetworkGraph(network.module, task.shape)
    known = fold_batch_norms(reference)
    if "evened out" in " ".join(ready.notes):
        chain = equalize.equalize(reference, known)
        equalize.absorb(reference, chain, known)
    ours, theirs = (_outputs(module, inputs) for module in (ready.module, reference.module))
    shifts = []
    for name, output in theirs.items():
        spread = output.transpose(0, 1).flatten(1).std(1)
        alive = spread > 1e-3 * spread.max()  # channels that never change have no scale of their own
        gap = (channel_means(ours[name]) - channel_means(output)).abs()
        shifts.append(float((gap[alive] / spread[alive]).mean()))
    return {"mean shift": 100 * float(np.mean(shifts))}


def _outputs(module: fx.GraphModule, inputs: Any) -> dict[str, Tensor]:
    """Name of a layer's node -> its output."""
    outputs: dict[str, Tensor] = {}

    class Looking(fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            value = super().run_node(n)
            if n.target in (CONVOLUTION, LINEAR):
                outputs[n.name] = value
            return value

    with torch.no_grad():
        Looking(module).run(inputs)
    return outputs
