"""Networks by name. An architecture is plain data from which the same network can be built again, with random weights.

{"kind": "zoo" | "timm" | "torchvision" | "factory", "name": ..., "args": {...}}, or one of these under
{"kind": "group-norm", "of": {...}}, where GroupNorm stands for BatchNorm.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any

from torch import nn

from ..errors import MissingLibraryError, SansdataError, StudentError, TeacherError, UserError, did_you_mean, first_line
from ..tasks import MAX_CLASSES, Task, load_task
from ..tasks.table import MAX_WIDTH
from ..tasks.tokens import MAX_LENGTH, MAX_VOCABULARY
from .cifar_resnet import CifarResNet
from .federated_nets import cnn5, fedgen_cnn, with_group_norm
from .lenet import LeNet5
from .mlp import MLP
from .resnet import ResNet
from .text_nets import BagOfEmbeddings, BiLSTM, Transformer
from .wide_resnet import WideResNet

MAX_SCALE = 8.0

Builder = Callable[[Mapping[str, int], float], nn.Module]
"""(sizes, scale) -> module; sizes are those of the pair of kinds, scale is a factor on every hidden width."""


def _image(make: Callable[[int, int, float], nn.Module]) -> Builder:
    """make: (channels, classes, scale) -> module."""
    return lambda sizes, scale: make(sizes["channels"], sizes["classes"], scale)


def _cifar(depth: int) -> Builder:
    return _image(lambda channels, classes, scale: CifarResNet(depth, channels, classes, scaled(16, scale)))


def _resnet(*blocks: int) -> Builder:
    return _image(lambda channels, classes, scale: ResNet(blocks, channels, classes, scaled(64, scale)))


def _wide(depth: int, widen: int) -> Builder:
    return _image(lambda channels, classes, scale: WideResNet(depth, widen, channels, classes, scaled(16, scale)))


def _mlp(*widths: int) -> Builder:
    return lambda sizes, scale: MLP(sizes["features"], sizes["classes"], [scaled(width, scale) for width in widths])


def _bag(sizes: Mapping[str, int], scale: float) -> nn.Module:
    return BagOfEmbeddings(sizes["vocabulary"], sizes["classes"], scaled(64, scale))


def _bilstm(sizes: Mapping[str, int], scale: float) -> nn.Module:
    return BiLSTM(sizes["vocabulary"], sizes["classes"], scaled(64, scale))


def _transformer(sizes: Mapping[str, int], scale: float) -> nn.Module:
    width = 4 * scaled(16, scale)  # a multiple of the heads
    return Transformer(sizes["vocabulary"], sizes["length"], sizes["classes"], width)


IMAGE_ZOO: dict[str, Builder] = {
    "lenet5": _image(lambda channels, classes, scale: LeNet5(channels, classes, scale)),
    "lenet5-half": _image(lambda channels, classes, scale: LeNet5(channels, classes, 0.5 * scale)),
    "resnet8": _cifar(8),
    "resnet14": _cifar(14),
    "resnet20": _cifar(20),
    "resnet32": _cifar(32),
    "resnet44": _cifar(44),
    "resnet56": _cifar(56),
    "resnet18": _resnet(2, 2, 2, 2),
    "resnet34": _resnet(3, 4, 6, 3),
    "wrn-16-1": _wide(16, 1),
    "wrn-16-2": _wide(16, 2),
    "wrn-40-1": _wide(40, 1),
    "wrn-40-2": _wide(40, 2),
    "fedgen-cnn": _image(fedgen_cnn),
    "cnn5": _image(cnn5),
}
TABLE_ZOO: dict[str, Builder] = {
    "mlp": _mlp(128, 128),
    "mlp-wide": _mlp(512, 512),
    "mlp-small": _mlp(32),
    "mlp-pieces": _mlp(128, 128),
}
DOORS = {"mlp-pieces": "pieces"}
"""Networks that stand behind another door than their kind's plain one."""
TEXT_ZOO: dict[str, Builder] = {"bag": _bag, "bilstm": _bilstm, "text-transformer": _transformer}
ZOO_OF: dict[str, dict[str, Builder]] = {"image": IMAGE_ZOO, "table": TABLE_ZOO, "tokens": TEXT_ZOO}
"""kind of input -> networks that read it. All give logits of exclusive classes."""
ZOO = {name: builder for zoo in ZOO_OF.values() for name, builder in zoo.items()}
MOST = {"channels": 1024, "classes": MAX_CLASSES, "features": MAX_WIDTH, "vocabulary": MAX_VOCABULARY,
        "length": MAX_LENGTH}  # fmt: skip
"""The largest size of each name that an architecture may have."""


def sizes_of(task: Task) -> dict[str, int]:
    """What a zoo network must know of a task. Raises StudentError for a pair of kinds without a zoo."""
    inputs, outputs = task.inputs, task.outputs
    if task.pair == ("image", "classes"):
        return {"channels": inputs.shape[0], "classes": outputs.classes}
    if task.pair == ("table", "classes"):
        in_pieces = task.own_preprocessing.get("door") == "pieces"
        return {"features": inputs.width_in_pieces if in_pieces else inputs.width, "classes": outputs.classes}
    if task.pair == ("tokens", "classes"):
        return {"vocabulary": inputs.vocabulary, "length": inputs.length, "classes": outputs.classes}
    raise StudentError(f"no network is known for a task of {' x '.join(task.pair)}: give package.module:function")


def scaled(width: int, ratio: float) -> int:
    """The width of a shrunk layer: the same for equal widths, at least 1."""
    return max(1, round(width * ratio))


def architecture_of(name: str, task: Task) -> dict[str, Any]:
    """The architecture that `name` means for this task: a zoo name, 'timm:NAME', 'torchvision:NAME' or
    'package.module:function'. Raises StudentError for an unknown name; libraries are not touched."""
    kind = task.pair[0]
    if name in ZOO:
        if name not in ZOO_OF.get(kind, {}):
            known = ", ".join(ZOO_OF.get(kind, {})) or "none; give package.module:function"
            raise StudentError(f"'{name}' does not read {kind}, the task's inputs. Networks that do: {known}.")
        return {"kind": "zoo", "name": name, "args": sizes_of(task)}
    library, colon, rest = name.partition(":")
    if not (colon and library and rest):
        raise StudentError(
            f"'{name}' is not a network we know. {did_you_mean(name, ZOO_OF.get(kind, ZOO))} "
            "Others: timm:NAME, torchvision:NAME, or package.module:function for a network of yours."
        )
    if library in ("torchvision", "timm"):
        if kind != "image":
            raise StudentError(f"{name}: {library} has networks for images, and the task's inputs are {kind}")
        plain: dict[str, Any] = dict(sizes_of(task))
        return {
            "kind": library,
            "name": rest,
            "args": plain | ({"size": list(task.shape[1:])} if library == "timm" else {}),
        }
    return {"kind": "factory", "name": name, "args": {"task": task.model_dump(mode="json")}}


def build(architecture: Mapping[str, Any], pretrained: bool = False) -> nn.Module:
    """The network, initialised from torch's global generator; `pretrained` asks timm or torchvision for its weights.

    Raises StudentError for an architecture that cannot be built, MissingLibraryError where its library is not there,
    TeacherError where pretrained weights cannot be had or are for other classes.
    """
    of = architecture.get("of")
    if architecture.get("kind") == "group-norm" and isinstance(of, Mapping) and of.get("kind") != "group-norm":
        return with_group_norm(build(of, pretrained))
    kind, name, args = (architecture.get(part) for part in ("kind", "name", "args"))
    if not (isinstance(name, str) and isinstance(args, Mapping)):
        raise StudentError(f"an architecture needs a name and args, got {dict(architecture)!r:.200}")
    try:
        if kind == "zoo":
            return _build_zoo(name, args)
        if kind == "timm":
            return _build_timm(name, args, pretrained)
        if kind == "torchvision":
            return _build_torchvision(name, args, pretrained)
        if kind == "factory":
            return _build_factory(name, args)
    except SansdataError:
        raise
    except Exception as fault:  # a foreign constructor may raise anything
        raise StudentError(f"{kind} network '{name}' cannot be built: {first_line(fault)}") from fault
    raise StudentError(
        f"architecture kind '{kind}' is unknown. Known: zoo, timm, torchvision, factory, group-norm, shrink."
    )


def _whole(args: Mapping[str, Any], field: str, most: int) -> int:
    value = args.get(field)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise StudentError(f"architecture: {field} must be a whole number from 1 to {most}, got {value!r:.80}")
    return value


def _build_zoo(name: str, args: Mapping[str, Any]) -> nn.Module:
    if name not in ZOO:
        raise StudentError(f"'{name}' is not in the zoo. {did_you_mean(name, ZOO)}")
    scale = args.get("scale", 1.0)
    if not isinstance(scale, (int, float)) or not 0 < scale <= MAX_SCALE:
        raise StudentError(f"architecture: scale must be above 0 and at most {MAX_SCALE:g}, got {scale!r:.80}")
    kind = next(kind for kind, zoo in ZOO_OF.items() if name in zoo)
    wanted = {"image": ("channels", "classes"), "table": ("features", "classes")}.get(
        kind, ("vocabulary", "length", "classes")
    )
    return ZOO[name]({size: _whole(args, size, MOST[size]) for size in wanted}, float(scale))


def _build_timm(name: str, args: Mapping[str, Any], pretrained: bool) -> nn.Module:
    timm = _library("timm")
    if not timm.is_model(name):
        raise StudentError(f"timm has no model '{name}'. {_nearest(name, timm.list_models())}")
    channels, classes = _whole(args, "channels", 1024), _whole(args, "classes", MAX_CLASSES)
    size = tuple(args.get("size") or ())
    wanted = {"num_classes": classes, "in_chans": channels}

    def create(**more: Any) -> nn.Module:
        return timm.create_model(name, pretrained=pretrained, **wanted, **more)

    if pretrained:
        _check_classes(f"timm:{name}", timm.get_pretrained_cfg_value(name, "num_classes"), classes)
    with _downloads(f"timm:{name}") if pretrained else contextlib.nullcontext():
        try:
            return create(img_size=size)  # transformers are built for one size
        except TypeError:
            return create()  # convolutional networks take any, and know no such argument


def _build_torchvision(name: str, args: Mapping[str, Any], pretrained: bool) -> nn.Module:
    torchvision = _library("torchvision")
    classes = _whole(args, "classes", MAX_CLASSES)
    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        raise StudentError(f"torchvision has no classifier '{name}'. {_nearest(name, known)}")
    if args.get("channels") != 3:
        raise StudentError(
            f"torchvision's networks take 3 channels and the task has {args.get('channels')}. "
            f"timm:{name} takes any number of channels, as do the zoo's networks ({', '.join(ZOO)})."
        )
    if not pretrained:
        return torchvision.models.get_model(name, weights=None, num_classes=classes)
    weights = torchvision.models.get_model_weights(name).DEFAULT
    _check_classes(f"torchvision:{name}", len(weights.meta["categories"]), classes)
    with _downloads(f"torchvision:{name}"):
        return torchvision.models.get_model(name, weights=weights)


def _build_factory(name: str, args: Mapping[str, Any]) -> nn.Module:
    with current_folder_importable():
        factory = import_factory(name)
        try:
            takes_task = "task" in inspect.signature(factory).parameters
        except ValueError:  # callables written in C show no signature
            takes_task = False
        module = factory(task=load_task(args["task"])) if takes_task else factory()
    if not isinstance(module, nn.Module):
        raise StudentError(f"factory '{name}' returned {type(module).__name__}; expected a torch.nn.Module")
    return module


def import_factory(name: str) -> Callable[..., Any]:
    """The callable 'package.module:function'. Raises StudentError that says which part is missing."""
    path, _, attribute = name.partition(":")
    try:
        module = importlib.import_module(path)
    except ModuleNotFoundError as fault:
        raise StudentError(
            f"factory '{name}': no module named '{fault.name}' from {os.getcwd()}. "
            "Write package.module:function and run from the folder that holds the package, or install it."
        ) from None
    except Exception as fault:
        raise StudentError(f"factory '{name}': importing {path} failed with {first_line(fault)}") from fault
    factory = getattr(module, attribute, None)
    if not callable(factory):
        known = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        hint = did_you_mean(attribute, known) if known else f"{path} has no public function."
        raise StudentError(f"factory '{name}': {path} has no function '{attribute}'. {hint}")
    return factory


@contextlib.contextmanager
def current_folder_importable() -> Iterator[None]:
    """The command does not run with the current folder on sys.path, where a user's modules are."""
    here = os.getcwd()
    if here in sys.path or "" in sys.path:
        yield
        return
    sys.path.insert(0, here)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(here)


def _library(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except Exception as fault:  # beside a CPU torch, CUDA builds of torchvision die with RuntimeError, not ImportError
        raise MissingLibraryError(
            f"{name} cannot be imported here ({first_line(fault)}). Install it with: pip install 'sansdata[vision]'. "
            "On a machine without CUDA take the builds that match a CPU torch: "
            "pip install torch torchvision --index-url https://download.pytorch.org/whl/cpu"
        ) from fault


@contextlib.contextmanager
def _downloads(what: str) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except TypeError:
        raise
    except Exception as fault:
        raise TeacherError(
            f"{what}: its pretrained weights cannot be fetched ({first_line(fault)}). "
            f"Check the network, or give a file of weights: {what}@FILE"
        ) from fault


def _check_classes(what: str, got: int | None, wanted: int) -> None:
    """A library silently gives a random head for another number of classes: no teacher."""
    if got != wanted:
        raise TeacherError(
            f"{what}: its pretrained weights know {got} classes and the task has {wanted}. "
            f"Give weights trained for the task: {what}@FILE"
        )


def _nearest(name: str, known: list[str]) -> str:
    sentence = did_you_mean(name, known)
    return sentence if sentence.startswith("Did") else f"{len(known)} are known, {known[0]} for one."
