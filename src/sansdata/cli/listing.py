"""`sansdata list`: what there is."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from ..errors import MethodError


class What(StrEnum):
    methods = "methods"
    models = "models"
    recipes = "recipes"
    federated = "federated"
    kinds = "kinds"


def listing(what: Annotated[What, typer.Argument(help="what to list")]) -> None:
    """List methods, models and known tasks, recipes, federated methods, or kinds of inputs and outputs."""
    {
        What.methods: _methods, What.models: _models, What.recipes: _recipes, What.federated: _federated,
        What.kinds: _kinds,
    }[what]()  # fmt: skip


def _methods() -> None:
    from ..methods.index import find_method, method_names

    for name, line in method_names().items():
        print(f"{name:<16} {line}")
        try:
            cls = find_method(name)
        except MethodError as fault:  # a stranger's package that is broken
            print(f"{'':<16} {fault}")
            continue
        needs = cls.requires(cls.Config())
        inputs, outputs = (" or ".join(sorted(kinds)) or "anything" for kinds in (needs.inputs, needs.outputs))
        presets = f"; presets {', '.join(cls.presets)}" if cls.presets else ""
        print(f"{'':<16} from {inputs} to {outputs}{presets}")
    print("beside any of them: --update, --defence, --bits and features.* (FAQD is --bits with features.fast_affinity)")


def _models() -> None:
    from ..kinds.index import input_kind
    from ..models.zoo import ZOOS
    from ..tasks import KNOWN_TASKS

    print("networks (also timm:NAME, torchvision:NAME for images, package.module:factory, shrink:RATIO)")
    for output, of_side in ZOOS.items():
        if output == "ways":  # those of classes
            continue
        for kind, zoo in of_side.items():
            print(f"  {kind:<8} {'' if output == 'classes' else f'to {output}: '}{' '.join(zoo)}")
    print("tasks")
    for name, task in KNOWN_TASKS.items():
        inputs = f"shape {list(task.shape)}" if task.pair[0] == "image" else input_kind(task).describe()
        print(f"  {name:<14} {task.classes:>5} classes  {inputs}")
        if task.own_preprocessing:
            print(f"  {'':<14} mean {task.own_preprocessing['mean']}  std {task.own_preprocessing['std']}")


def _kinds() -> None:
    from ..kinds.index import kind_names

    for name, (side, line) in kind_names().items():
        print(f"{name:<12} {side:<12} {line}")


def _recipes() -> None:
    from ..reproduce.recipes import RECIPES

    for recipe in RECIPES.values():
        print(f"{recipe.name:<22} {recipe.claim}")


def _federated() -> None:
    from ..federated.index import FEDERATED, find_server

    for name, (_, line) in FEDERATED.items():
        print(f"{name:<16} {line}")
        for preset in find_server(name).presets:
            print(f"{'':<16} preset {preset}")
