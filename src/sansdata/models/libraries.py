"""Networks of timm and torchvision by name, with random weights or with the library's own."""

from __future__ import annotations

import contextlib
import importlib
import re
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

from torch import nn

from ..errors import MissingLibraryError, StudentError, TeacherError, UserError, did_you_mean, first_line
from ..tasks import MAX_CLASSES

MAX_SIDE = 8_192
"""Of the images that a network is built for."""
NAME = re.compile(r"[A-Za-z0-9_.\-]{1,100}")
"""Names of networks have no slash and no colon, with which the libraries name folders and places of the network."""


def whole(args: Mapping[str, Any], field: str, most: int) -> int:
    """The argument `field` of an architecture, 1 to `most`. Raises StudentError."""
    value = args.get(field)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise StudentError(f"architecture: {field} must be a whole number from 1 to {most}, got {value!r:.80}")
    return value


def build_timm(name: str, args: Mapping[str, Any], pretrained: bool) -> nn.Module:
    """timm's network for `size` of the images, `channels` and `classes`, in args. pretrained: with timm's weights.

    Raises StudentError for a name that timm does not have, MissingLibraryError, TeacherError where the weights cannot
    be had or are for other classes.
    """
    timm = _library("timm")
    if not (NAME.fullmatch(name) and timm.is_model(name)):
        raise StudentError(f"timm has no model '{name[:100]}'. {_nearest(name, timm.list_models())}")
    channels, classes = whole(args, "channels", 1024), whole(args, "classes", MAX_CLASSES)
    size = args.get("size")
    if not (isinstance(size, list) and len(size) == 2):
        raise StudentError(f"architecture: size must be [height, width], got {size!r:.80}")
    size = tuple(whole({"size": side}, "size", MAX_SIDE) for side in size)
    sizes = {"num_classes": classes, "in_chans": channels}

    def create(**more: Any) -> nn.Module:
        return timm.create_model(name, pretrained=pretrained, **sizes, **more)

    if pretrained:
        _check_classes(f"timm:{name}", timm.get_pretrained_cfg_value(name, "num_classes"), classes)
    with _downloads(f"timm:{name}") if pretrained else contextlib.nullcontext():
        try:
            return create(img_size=size)  # transformers are built for one size
        except TypeError:
            return create()  # convolutional networks take any, and know no such argument


def build_torchvision(name: str, args: Mapping[str, Any], pretrained: bool) -> nn.Module:
    """torchvision's classifier, or network of masks, for 3 channels and `classes` of args; raises as `build_timm`."""
    torchvision = _library("torchvision")
    classes = whole(args, "classes", MAX_CLASSES)
    models = torchvision.models
    of_masks = models.list_models(module=models.segmentation)
    known = models.list_models(module=models) + of_masks
    if name not in known:
        raise StudentError(f"torchvision has no classifier and no segmentation '{name[:100]}'. {_nearest(name, known)}")
    if args.get("channels") != 3:
        raise StudentError(
            f"torchvision's networks take 3 channels and the task has {args.get('channels')}. "
            f"timm:{name} takes any number of channels, as do networks of the zoo."
        )
    if not pretrained:
        backbone = {"weights_backbone": None} if name in of_masks else {}
        return models.get_model(name, weights=None, num_classes=classes, **backbone)
    weights = models.get_model_weights(name).DEFAULT
    _check_classes(f"torchvision:{name}", len(weights.meta["categories"]), classes)
    with _downloads(f"torchvision:{name}"):
        return models.get_model(name, weights=weights)


def _library(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except Exception as fault:  # beside a CPU torch, CUDA builds of torchvision die with RuntimeError, not ImportError
        raise MissingLibraryError(
            f"{name} cannot be imported here ({first_line(fault)}). Install it with: pip install {name}. "
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


def _check_classes(what: str, actual: int | None, wanted: int) -> None:
    """A library silently gives a random head for another number of classes: no teacher."""
    if actual != wanted:
        raise TeacherError(
            f"{what}: its pretrained weights know {actual} classes and the task has {wanted}. "
            f"Give weights trained for the task: {what}@FILE"
        )


def _nearest(name: str, known: list[str]) -> str:
    sentence = did_you_mean(name[:100], known)
    return sentence if sentence.startswith("Did") else f"{len(known)} are known, {known[0]} for one."
