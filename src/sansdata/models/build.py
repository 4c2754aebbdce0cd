"""Networks by name. An architecture is plain data from which the same network can be built again, with random weights.

{"kind": "zoo" | "timm" | "torchvision" | "factory", "name": ..., "args": {...}}, or one of these under
{"kind": "group-norm", "of": {...}}, where GroupNorm stands for BatchNorm. Generators in one step are {"kind":
"one-step", "of": {...}} of a denoiser, and {"kind": "steered", "calls", "guided", "of": {...}} of a generator;
{"kind": "adapted", "rank", "of": {...}} stands beside low-rank adapters, and {"kind": "latents", "shape", "groups",
"latent", "of": {...}} before a decoder of pictures.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from torch import nn

from ..errors import SansdataError, StudentError, did_you_mean, first_line
from ..tasks import Task
from .adapters import adapt
from .diffusion.denoiser import Denoiser
from .diffusion.one_step import OneStep
from .diffusion.steerable import Steerable
from .diffusion.unets import NETWORKS, denoiser_of
from .factories import build_factory
from .fair_image_vae import LatentPictures, PictureDecoder
from .federated_nets import with_group_norm
from .libraries import build_timm, build_torchvision
from .zoo import ZOO, ZOOS, build_zoo, networks_of, sizes_of

MOST_OF_DECODER = 4096
FIELDS = ("kind", "name", "args")


def architecture_of(name: str, task: Task) -> dict[str, Any]:
    """The architecture that `name` means for this task: a zoo name, 'timm:NAME', 'torchvision:NAME' or
    'package.module:function'. Raises StudentError for an unknown name; libraries are not touched."""
    kind = task.pair[0]
    if name in ZOO:
        networks = networks_of(task.pair)
        if name not in networks:
            known = ", ".join(networks) or "none; give package.module:function"
            reads = any(name in of_side.get(kind, {}) for of_side in ZOOS.values())
            lacks = f"give {task.pair[1]}, the task's outputs" if reads else f"read {kind}, the task's inputs"
            raise StudentError(f"'{name}' does not {lacks}. Networks that do: {known}.")
        return {"kind": "zoo", "name": name, "args": sizes_of(task)}
    library, colon, rest = name.partition(":")
    if not (colon and library and rest):
        raise StudentError(
            f"'{name[:100]}' is not a network we know. {did_you_mean(name[:100], networks_of(task.pair) or ZOO)} "
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


def build(architecture: Mapping[str, Any], pretrained: bool = False, code: Collection[str] = ()) -> nn.Module:
    """The network, initialised from torch's global generator; `pretrained` asks timm or torchvision for its weights.

    code: the functions 'package.module:function' that the user named. An architecture is mostly read from a file, and
    a file must not choose what is imported: another function is refused here, whoever calls and however deep it lies.

    Raises StudentError for an architecture that cannot be built, UnsafeFileError for code that was not named,
    MissingLibraryError where its library is not there, TeacherError where pretrained weights cannot be had or are for
    other classes.
    """
    of = architecture.get("of")
    if architecture.get("kind") == "group-norm" and isinstance(of, Mapping) and of.get("kind") != "group-norm":
        return with_group_norm(build(of, pretrained, code))
    if architecture.get("kind") == "one-step" and isinstance(of, Mapping) and of.get("kind") != "one-step":
        return _in_one_step(build(of, pretrained, code))
    if architecture.get("kind") == "steered" and isinstance(of, Mapping) and of.get("kind") != "steered":
        return _steered(build(of, pretrained, code), architecture)
    if architecture.get("kind") == "latents" and isinstance(of, Mapping) and of.get("kind") == "zoo":
        return _before_decoder(build(of, pretrained, code), architecture)
    if architecture.get("kind") == "adapted" and isinstance(of, Mapping) and of.get("kind") != "adapted":
        return _adapted(build(of, pretrained, code), architecture)
    kind, name, args = (architecture.get(part) for part in FIELDS)
    if not (isinstance(name, str) and isinstance(args, Mapping)) or set(architecture) - set(FIELDS):
        raise StudentError(f"an architecture has a kind, a name and args, got {dict(architecture)!r:.200}")
    try:
        if kind == "zoo":
            return build_zoo(name, args)
        if kind == "timm":
            return build_timm(name, args, pretrained)
        if kind == "torchvision":
            return build_torchvision(name, args, pretrained)
        if kind == "diffusers" and name in NETWORKS:
            return denoiser_of(args, name)
        if kind == "factory":
            return build_factory(name, args, code)
    except SansdataError:
        raise
    except Exception as fault:  # a foreign constructor may raise anything
        raise StudentError(f"{kind} network '{name[:100]}' cannot be built: {first_line(fault)}") from fault
    raise StudentError(
        f"architecture kind {str(kind)[:40]!r} is unknown. Known: zoo, timm, torchvision, factory, diffusers, "
        "group-norm, one-step, steered, adapted, latents, shrink, quantized, quant-relu, shared-classifier."
    )


def _in_one_step(denoiser: nn.Module) -> nn.Module:
    if not isinstance(denoiser, Denoiser):
        raise StudentError(f"architecture: one-step is of a denoiser, not of a {type(denoiser).__name__}")
    return OneStep(denoiser)


def _adapted(module: nn.Module, architecture: Mapping[str, Any]) -> nn.Module:
    rank = architecture.get("rank")
    if type(rank) is not int:
        raise StudentError(f"architecture: adapted needs a whole 'rank', got {rank!r:.40}")
    adapt(module, rank)
    return module


def _before_decoder(draws: nn.Module, architecture: Mapping[str, Any]) -> nn.Module:
    shape, groups, latent = (architecture.get(part) for part in ("shape", "groups", "latent"))
    sound = isinstance(shape, (list, tuple)) and len(shape) == 3 and shape[0] in (1, 3)
    if not sound or not all(type(one) is int and 1 <= one <= MOST_OF_DECODER for one in (*shape, groups, latent)):  # type: ignore[misc]
        raise StudentError("architecture: latents needs the 'shape' of a picture, and how many 'groups' and 'latent'")
    return LatentPictures(draws, PictureDecoder(shape, groups, latent))  # type: ignore[arg-type]


def _steered(generator: nn.Module, architecture: Mapping[str, Any]) -> nn.Module:
    """A generator that is told where it starts, or how strongly it is guided."""
    calls, guided = architecture.get("calls"), architecture.get("guided")
    if not isinstance(generator, Steerable) or type(calls) is not int or type(guided) is not bool:
        raise StudentError("architecture: steered needs a generator that can be told more, 'calls' and 'guided'")
    generator.tell(calls, guided)
    return generator
