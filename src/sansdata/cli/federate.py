"""`sansdata federate`: a model from clients that keep their data, simulated in this process."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ..code_named import require_code_named
from ..config import parse_override, read_yaml, set_dotted, validate
from ..errors import ConfigError, RunDirectoryError
from ..federated.settings import FederateSettings
from ..files import exists, user_path
from . import words

SPECS = ("network",)
"""The settings that name a network, and may name code."""


def federate(
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[key=value ...]", help="settings of the method, or partition.key=value"),
    ] = None,
    method: Annotated[str | None, typer.Option(metavar="NAME", help="one of `sansdata list federated`")] = None,
    data: Annotated[
        str | None, typer.Option(metavar="DATA", help="a known set, a folder of class folders, an .npz")
    ] = None,
    task: words.OptionalTask = None,
    network: Annotated[
        str | None, typer.Option(metavar="NAME", help="what is trained; see `sansdata list models`")
    ] = None,
    clients: Annotated[int | None, typer.Option(metavar="N")] = None,
    active: Annotated[int | None, typer.Option(metavar="N", help="clients of a round; half of them without it")] = None,
    alpha: Annotated[
        float | None, typer.Option(metavar="A", help="of the Dirichlet partitions; small is uneven")
    ] = None,
    partition: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="dirichlet-class, dirichlet-class-capped, dirichlet-client, shards, quantity, iid or natural",
        ),
    ] = None,
    rounds: Annotated[int | None, typer.Option(metavar="N")] = None,
    batch_norm: Annotated[
        str | None, typer.Option("--batch-norm", metavar="NAME", help="average, local, frozen or group")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="must not exist yet, unless --resume")] = None,
    seed: Annotated[int | None, typer.Option(metavar="N")] = None,
    preset: Annotated[str | None, typer.Option(metavar="NAME", help="a named set of the method's settings")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="continue the run in --out, exactly")] = False,
    device: Annotated[str | None, typer.Option(metavar="D", help="auto, cpu, cuda or cuda:N")] = None,
    threads: Annotated[int | None, typer.Option(metavar="N")] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="settings as YAML; flags and key=value win")
    ] = None,
) -> None:
    """Train a model over clients that share out a set, by FedAvg or one that adds data-free distillation."""
    flags: dict[str, Any] = {
        "method": method, "data": data, "task": task, "network": network, "clients": clients, "active": active,
        "rounds": rounds, "batch_norm": batch_norm, "seed": seed, "preset": preset, "device": device,
        "threads": threads, "partition.alpha": alpha, "partition.scheme": partition,
    }  # fmt: skip
    settings = resolve(config, flags, overrides or [])
    if out is None:
        raise RunDirectoryError("--out DIR is needed: where the run and the model go")
    out = user_path(out, "--out")
    if exists(out) and not resume:
        raise RunDirectoryError(f"--out {out} already exists. Continue it with --resume, or give another one.")
    from ..api.federate.run import run
    from ..api.federate.summary import SPREADS
    from ..runtime import keep_freed_memory

    keep_freed_memory(settings.device)
    done = run(settings, out, resume, shlex.join(["sansdata", *sys.argv[1:]]))
    summary = done.summary
    if "accuracy" in summary:
        print(f"accuracy       {words.percent(summary['accuracy'])} of the global model (last 3 evaluations: "
              f"{words.percent(summary['accuracy_last_3'])})")  # fmt: skip
    for name, title in SPREADS.items():
        if name in summary:
            one = summary[name]
            print(f"{title:<14} {words.percent(one['mean'])}, worst tenth {words.percent(one['worst_tenth'])}")
    down, up = sum(summary["down"].values()), sum(summary["up"].values())
    print(f"traffic        {down:,} bytes down, {up:,} up")
    if summary["refused"] or summary["lost"] or summary["undone"]:
        faults = f"{summary['refused']} replies refused, {summary['lost']} lost, {summary['undone']} rounds undone"
        print(f"warning        {faults}: see {out / 'events.log'}")
    print(f"report         {out / 'report.html'}")


def resolve(file: Path | None, flags: dict[str, Any], overrides: list[str]) -> FederateSettings:
    """From a YAML file, then the flags, then key=value; a key that is none of ours is the method's."""
    tree, where = read_yaml(file) if file else {}, str(file) if file else "settings"
    of_file = {name: tree.pop(name) for name in SPECS if name in tree}
    for key, value in flags.items():
        if value is not None:
            set_dotted(tree, key, value)
    for text in overrides:
        key, value = parse_override(text)
        ours = key.split(".")[0] in FederateSettings.model_fields
        set_dotted(tree, key if ours else f"options.{key}", value)
    if not tree.get("data"):
        raise ConfigError("--data DATA is needed: the set that is dealt out to the clients")
    settings = validate(FederateSettings, {**of_file, **tree}, where)
    require_code_named(of_file, tree, SPECS, where)
    return settings
