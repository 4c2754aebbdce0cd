"""The networks that have a name of their own, by what they read and what they give, and the sizes that each takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from ..errors import StudentError, did_you_mean
from ..tasks import MAX_CLASSES, Task
from ..tasks.table import MAX_WIDTH
from ..tasks.tokens import MAX_LENGTH, MAX_VOCABULARY
from ..tasks.vectors import MAX_SIZE
from ..tasks.waveform import DEFAULT_MELS, MAX_MELS
from .cifar_resnet import CifarResNet
from .code_nets import GRU
from .conv4 import conv4
from .conv_lstm import FrameByFrame, RecurrentSegmenter
from .crepe import SHORTENED, WIDTHS, Crepe
from .diffusion.denoiser import Denoiser
from .diffusion.generators import DenoisingPictureNet, PictureNet, PointNet
from .diffusion.mixture import ring
from .diffusion.plain_ddpm import PlainDDPM
from .federated_nets import cnn5, fedgen_cnn
from .lenet import LeNet5
from .libraries import whole
from .mlp import MLP, VectorMLP
from .recogniser import Recogniser
from .resnet import ResNet
from .segmentation_nets import DeepLab, SegNet, UNet
from .sound_nets import MelCNN, MelGRU
from .span_nets import SpanReader
from .text_nets import BagOfEmbeddings, BiLSTM, Transformer
from .two_text_nets import SiameseBag, SiameseBiLSTM
from .wide_resnet import WideResNet

MAX_SCALE = 8.0
MAX_SIDE = 4096

Builder = Callable[[Mapping[str, int], float], nn.Module]
"""(sizes, scale) -> module; sizes are those of the pair of kinds, scale is a factor on every hidden width."""


def _image(make: Callable[[int, int, float], nn.Module]) -> Builder:
    """make: (channels, classes, scale) -> module."""
    return lambda sizes, scale: make(sizes["channels"], sizes["classes"], scale)


def _cifar(depth: int) -> Builder:
    return _image(lambda channels, classes, scale: CifarResNet(depth, channels, classes, scaled(16, scale)))


def _cifar_b(depth: int, times: int = 1) -> Builder:
    """With shortcuts of option B; `times` as wide behind a stem that is twice as wide where it is wider at all."""
    stem = 16 if times == 1 else 32

    def make(channels: int, classes: int, scale: float) -> nn.Module:
        return CifarResNet(depth, channels, classes, scaled(16 * times, scale), True, scaled(stem, scale))

    return _image(make)


def _resnet(*blocks: int) -> Builder:
    return _image(lambda channels, classes, scale: ResNet(blocks, channels, classes, scaled(64, scale)))


def _wide(depth: int, widen: int) -> Builder:
    return _image(lambda channels, classes, scale: WideResNet(depth, widen, channels, classes, scaled(16, scale)))


def _mlp(*widths: int) -> Builder:
    return lambda sizes, scale: MLP(sizes["features"], sizes["classes"], [scaled(width, scale) for width in widths])


def _to_vectors(*widths: int) -> Builder:
    return lambda sizes, scale: VectorMLP(sizes["features"], sizes["size"], [scaled(width, scale) for width in widths])


def _pyramid(make: Callable[..., nn.Module], *widths: int) -> Builder:
    return _image(lambda channels, classes, scale: make(channels, classes, [scaled(width, scale) for width in widths]))


def _frames(of_image: Builder) -> Builder:
    return lambda sizes, scale: FrameByFrame(of_image(sizes, scale))


def _recurrent(blocks: int, layers: int, skips: bool = False, forgets: bool = False, width: int = 12) -> Builder:
    return _image(
        lambda channels, classes, scale: RecurrentSegmenter(
            channels, classes, scaled(width, scale), blocks, layers, skips, forgets
        )
    )


def _bag(sizes: Mapping[str, int], scale: float) -> nn.Module:
    return BagOfEmbeddings(sizes["vocabulary"], sizes["classes"], scaled(64, scale))


def _bilstm(sizes: Mapping[str, int], scale: float) -> nn.Module:
    return BiLSTM(sizes["vocabulary"], sizes["classes"], scaled(64, scale))


def _transformer(sizes: Mapping[str, int], scale: float) -> nn.Module:
    width = 4 * scaled(16, scale)  # a multiple of the heads
    return Transformer(sizes["vocabulary"], sizes["length"], sizes["classes"], width, sizes.get("layers", 2))


def _gru(width: int, fused: bool) -> Builder:
    return lambda sizes, scale: GRU(sizes["vocabulary"], sizes["classes"], scaled(width, scale), fused)


def _siamese(make: Callable[[int, int, int], nn.Module]) -> Builder:
    return lambda sizes, scale: make(sizes["vocabulary"], sizes["classes"], scaled(64, scale))


def _span_reader(sizes: Mapping[str, int], scale: float) -> nn.Module:
    return SpanReader(sizes["vocabulary"], scaled(48, scale))


def _points(*widths: int) -> Builder:
    return lambda sizes, scale: PointNet(
        _flat(sizes, "point-net"), sizes["conditions"], [scaled(width, scale) for width in widths]
    )


def _pictures(width: int) -> Builder:
    def make(sizes: Mapping[str, int], scale: float) -> nn.Module:
        _even(sizes, "picture-net")
        return PictureNet(sizes["channels"], sizes["conditions"], scaled(width, scale))

    return make


def _picture_denoiser(width: int) -> Builder:
    """Of pictures in -0.5..0.5."""

    def make(sizes: Mapping[str, int], scale: float) -> nn.Module:
        _even(sizes, "picture-denoiser")
        network = DenoisingPictureNet(sizes["channels"], sizes["conditions"], scaled(width, scale))
        return Denoiser(network, "cosine", "v_prediction", clip=0.5, labels=sizes["conditions"] - 1)

    return make


def _even(sizes: Mapping[str, int], name: str) -> None:
    if sizes["height"] % 2 or sizes["width"] % 2:
        raise StudentError(f"'{name}' makes pictures of even height and width")


def _ring(sizes: Mapping[str, int], scale: float) -> nn.Module:
    if _flat(sizes, "ring") != 2 or sizes["conditions"] not in (1, 9):
        raise StudentError("'ring' makes points of 2 numbers, without labels or with 8")
    return ring(labels=sizes["conditions"] > 1)


def _plain_ddpm(*widths: int) -> Builder:
    def make(sizes: Mapping[str, int], scale: float) -> nn.Module:
        if sizes["conditions"] > 1:
            raise StudentError("'plain-ddpm' takes no labels")
        size = sizes["height"], sizes["width"]
        return PlainDDPM(sizes["channels"], size, [scaled(width, scale) for width in widths])

    return make


def _flat(sizes: Mapping[str, int], name: str) -> int:
    if sizes["height"] != 1 or sizes["width"] != 1:
        raise StudentError(f"'{name}' makes points, and the task's samples have a height and a width")
    return sizes["channels"]


def _recogniser(sizes: Mapping[str, int], scale: float) -> nn.Module:
    width = 4 * scaled(sizes["width"] // 4, scale)
    return Recogniser(**{**sizes, "width": width})  # type: ignore[arg-type]


def _crepe(sizes: Mapping[str, int], scale: float) -> nn.Module:
    if sizes["length"] % SHORTENED:
        raise StudentError(f"'crepe-tiny' hears frames of a multiple of {SHORTENED} samples, and this task's have "
                           f"{sizes['length']:,}")  # fmt: skip
    return Crepe(sizes["length"], sizes["classes"], tuple(scaled(width, scale) for width in WIDTHS))


def _sound(make: Callable[[int, int, int], nn.Module], width: int) -> Builder:
    return lambda sizes, scale: make(sizes["mels"], sizes["classes"], scaled(width, scale))


IMAGE_ZOO: dict[str, Builder] = {
    "lenet5": _image(lambda channels, classes, scale: LeNet5(channels, classes, scale)),
    "lenet5-half": _image(lambda channels, classes, scale: LeNet5(channels, classes, 0.5 * scale)),
    "resnet8": _cifar(8),
    "resnet14": _cifar(14),
    "resnet20": _cifar(20),
    "resnet32": _cifar(32),
    "resnet44": _cifar(44),
    "resnet56": _cifar(56),
    "resnet20-b": _cifar_b(20),
    "resnet32-b": _cifar_b(32),
    "resnet44-b": _cifar_b(44),
    "resnet56-b": _cifar_b(56),
    "resnet8x4": _cifar_b(8, 4),
    "resnet32x4": _cifar_b(32, 4),
    "resnet10": _resnet(1, 1, 1, 1),
    "resnet18": _resnet(2, 2, 2, 2),
    "resnet34": _resnet(3, 4, 6, 3),
    "wrn-16-1": _wide(16, 1),
    "wrn-16-2": _wide(16, 2),
    "wrn-40-1": _wide(40, 1),
    "wrn-40-2": _wide(40, 2),
    "fedgen-cnn": _image(fedgen_cnn),
    "cnn5": _image(cnn5),
    "conv4": _image(lambda channels, classes, scale: conv4(channels, classes, scaled(32, scale))),
}
MASK_ZOO: dict[str, Builder] = {
    "unet-small": _pyramid(UNet, 8, 16),
    "unet": _pyramid(UNet, 16, 32, 64),
    "unet-wide": _pyramid(UNet, 32, 64, 128, 256),
    "segnet": _pyramid(SegNet, 16, 32, 64),
    "deeplab": _image(lambda channels, classes, scale: DeepLab(channels, classes, scaled(16, scale))),
}
CLIP_ZOO: dict[str, Builder] = {
    **{f"convlstm-{blocks}x{layers}": _recurrent(blocks, layers) for blocks in range(1, 5) for layers in range(1, 5)},
    "convlstm-2x1-skip": _recurrent(2, 1, skips=True),
    "convlstm-3x1-skip": _recurrent(3, 1, skips=True),
    "convlstm-2x1-narrow": _recurrent(2, 1, width=8),
    "convlstm-3x1-forgets": _recurrent(3, 1, forgets=True),
    **{f"frames-{name}": _frames(of_image) for name, of_image in MASK_ZOO.items()},
}
"""convlstm-BxL: B blocks of L cells, 12 filters in the first, narrow: 8. frames-NAME: every frame by itself."""
TABLE_ZOO: dict[str, Builder] = {
    "mlp": _mlp(128, 128),
    "mlp-wide": _mlp(512, 512),
    "mlp-small": _mlp(32),
    "mlp-pieces": _mlp(128, 128),
}
RECOGNISER = ("mels", "frames", "vocabulary", "length", "positions", "width", "layers", "decoder_layers")
DOORS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "mlp-pieces": lambda own: {**own, "door": "pieces"},
    "crepe-tiny": lambda own: {"door": "samples"},  # what a task says of bands is not for it
}
"""Networks that stand behind another door than their kind's plain one: name -> what a task says -> their door."""
TEXT_ZOO: dict[str, Builder] = {
    "bag": _bag,
    "bilstm": _bilstm,
    "text-transformer": _transformer,
    "fused-gru": _gru(64, fused=True),
    "gru": _gru(32, fused=False),
}
TWO_TEXT_ZOO: dict[str, Builder] = {
    "siamese-bag": _siamese(SiameseBag),
    "siamese-bilstm": _siamese(SiameseBiLSTM),
}
VECTOR_ZOO: dict[str, Builder] = {
    "latent-mlp": _to_vectors(32, 32),
    "latent-mlp-small": _to_vectors(16),
}
SOUND_ZOO: dict[str, Builder] = {
    "mel-cnn": _sound(MelCNN, 16),
    "mel-cnn-small": _sound(MelCNN, 6),
    "mel-gru": _sound(MelGRU, 48),
}
ZOO_OF: dict[str, dict[str, Builder]] = {
    "image": IMAGE_ZOO, "table": TABLE_ZOO, "tokens": TEXT_ZOO, "two-texts": TWO_TEXT_ZOO,
    "waveform": SOUND_ZOO,
}  # fmt: skip
"""kind of input -> networks that read it and give logits of exclusive classes."""
DENSE_ZOO_OF: dict[str, dict[str, Builder]] = {"image": MASK_ZOO, "clip": CLIP_ZOO}
"""kind of input -> networks that read it and give a class for each pixel."""
FIELD_ZOO: dict[str, Builder] = {
    "point-net": _points(96, 96, 96),
    "point-net-small": _points(32, 32),
    "picture-net": _pictures(32),
    "picture-net-small": _pictures(8),
    "ring": _ring,
    "plain-ddpm": _plain_ddpm(16, 32, 32, 16),
    "picture-denoiser": _picture_denoiser(16),
}
FIELD_ZOO_OF: dict[str, dict[str, Builder]] = {"noise": FIELD_ZOO}
"""kind of input -> networks that make samples: denoisers, which are teachers, and generators."""
TAG_ZOO_OF: dict[str, dict[str, Builder]] = {"waveform": {**SOUND_ZOO, "crepe-tiny": _crepe}}
"""kind of input -> networks that read it and give logits of labels that do not exclude each other."""
VECTOR_ZOO_OF: dict[str, dict[str, Builder]] = {"noise": VECTOR_ZOO}
"""kind of input -> networks that read it and give a vector."""
SPAN_ZOO_OF: dict[str, dict[str, Builder]] = {"two-texts": {"span-conv": _span_reader}}
"""kind of input -> networks that read it and point to a part of the first text."""
READER_ZOO_OF: dict[str, dict[str, Builder]] = {"waveform": {"recogniser": _recogniser}}
"""kind of input -> networks that read it into tokens."""
ZOOS = {
    "classes": ZOO_OF, "ways": ZOO_OF, "masks": DENSE_ZOO_OF, "field": FIELD_ZOO_OF, "vectors": VECTOR_ZOO_OF,
    "transcript": READER_ZOO_OF, "span": SPAN_ZOO_OF, "multilabel": TAG_ZOO_OF,
}  # fmt: skip
"""kind of output -> the same."""
ZOO = {name: builder for of_side in ZOOS.values() for zoo in of_side.values() for name, builder in zoo.items()}
MOST = {"channels": 1024, "classes": MAX_CLASSES, "features": MAX_WIDTH, "vocabulary": MAX_VOCABULARY,
        "length": MAX_LENGTH, "layers": 64, "height": MAX_SIDE, "conditions": MAX_CLASSES + 1, "size": MAX_SIZE,
        "mels": MAX_MELS, "frames": 1_000_000, "positions": 100_000, "width": max(MAX_SIDE, 4096),
        "decoder_layers": 64}  # fmt: skip
"""The largest size of each name that an architecture may have."""


def networks_of(pair: tuple[str, str]) -> dict[str, Builder]:
    """Networks of the zoo for a pair of kinds, by name."""
    return ZOOS.get(pair[1], {}).get(pair[0], {})


def sizes_of(task: Task) -> dict[str, int]:
    """What a zoo network must know of a task. Raises StudentError for a pair of kinds without a zoo."""
    inputs, outputs = task.inputs, task.outputs
    if task.pair[0] in ("image", "clip"):
        return {"channels": inputs.shape[0], "classes": outputs.classes}
    if task.pair == ("table", "classes"):
        in_pieces = task.own_preprocessing.get("door") == "pieces"
        return {"features": inputs.width_in_pieces if in_pieces else inputs.width, "classes": outputs.classes}
    if task.pair == ("tokens", "classes"):
        return {"vocabulary": inputs.vocabulary, "length": inputs.length, "classes": outputs.classes}
    if task.pair == ("two-texts", "classes"):
        return {"vocabulary": inputs.vocabulary, "classes": outputs.classes}
    if task.pair == ("two-texts", "span"):
        return {"vocabulary": inputs.vocabulary}
    if task.pair == ("noise", "field"):
        channels, height, width = (*inputs.shape, 1, 1)[:3]
        return {"channels": channels, "height": height, "width": width, "conditions": inputs.labels + 1}
    if task.pair == ("noise", "vectors") and not inputs.labels:
        return {"features": inputs.numbers, "size": outputs.size}
    if task.pair in (("waveform", "classes"), ("waveform", "multilabel")):
        sizes = {"mels": int(task.own_preprocessing.get("mels", DEFAULT_MELS)), "classes": outputs.classes}
        return sizes if task.pair[1] == "classes" else {**sizes, "length": inputs.length}
    if task.pair == ("waveform", "transcript"):
        door = task.own_preprocessing
        reach = {"length": outputs.length, "positions": outputs.length + len(outputs.prompt)}
        sounds = {"mels": int(door.get("mels", DEFAULT_MELS)), "frames": inputs.frames(door)}
        return sounds | reach | {"vocabulary": outputs.vocabulary, "width": 64, "layers": 2, "decoder_layers": 2}
    raise StudentError(f"no network is known for a task of {' x '.join(task.pair)}: give package.module:function")


def scaled(width: int, ratio: float) -> int:
    """The width of a shrunk layer: the same for equal widths, at least 1."""
    return max(1, round(width * ratio))


def build_zoo(name: str, args: Mapping[str, Any]) -> nn.Module:
    """The network of this name. Raises StudentError for an unknown name or a size out of bounds."""
    if name not in ZOO:
        raise StudentError(f"'{name[:100]}' is not in the zoo. {did_you_mean(name[:100], ZOO)}")
    scale = args.get("scale", 1.0)
    if not isinstance(scale, (int, float)) or not 0 < scale <= MAX_SCALE:
        raise StudentError(f"architecture: scale must be above 0 and at most {MAX_SCALE:g}, got {scale!r:.80}")
    kind, of_side = next((kind, of_side) for of_side in ZOOS.values() for kind, zoo in of_side.items() if name in zoo)
    seen, made = ("channels", "classes"), ("channels", "height", "width", "conditions")
    of_kind = {
        "image": seen, "clip": seen, "table": ("features", "classes"), "waveform": ("mels", "classes"),
        "two-texts": ("vocabulary",) if of_side is SPAN_ZOO_OF else ("vocabulary", "classes"),
        "noise": made if of_side is FIELD_ZOO_OF else ("features", "size"),
    }  # fmt: skip
    own = {"recogniser": RECOGNISER, "crepe-tiny": ("length", "classes")}
    names = own.get(name) or of_kind.get(kind, ("vocabulary", "length", "classes"))
    names = (*names, "layers") if "layers" in args else names  # of a network that has lost some
    return ZOO[name]({size: whole(args, size, MOST[size]) for size in names}, float(scale))
