"""`sansdata bundle`: a model with all that its receiver must know, made by one house and checked by another."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from ..config import parse_override, read_yaml, set_dotted
from ..tasks import load_task
from . import words
from .convert import lines_of

bundle = typer.Typer(
    name="bundle", help="A model as a checked, signed folder or .zip file.", no_args_is_help=True,
    rich_markup_mode=None,
)  # fmt: skip
KEY = "the file of the maker's public key, which you have by another way than the bundle"


@bundle.command("create")
def create(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="a run directory, a student file, or a SPEC")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[key=value ...]", help="version, description, license and so on")
    ] = None,
    out: Annotated[Path, typer.Option(metavar="PATH", help="a new folder, or a name that ends in .zip")] = Path(
        "bundle"
    ),
    task: words.OptionalTask = None,
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="the maker's word, as YAML")] = None,
    sign: Annotated[Path | None, typer.Option(metavar="FILE", help="the file of your private key, in PEM")] = None,
    reference: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="aggregates to compare with, as `sansdata monitor --out` has them"),
    ] = None,
) -> None:
    """Write a bundle of MODEL, and check it as its receiver will."""
    settings: dict[str, Any] = {} if config is None else dict(read_yaml(config))
    for text in overrides or ():
        set_dotted(settings, *parse_override(text))
    job = load_task(task).model_dump(mode="json") if task else None
    from ..api.bundle import create_bundle

    done = create_bundle(model, out, job, _as_text(settings), sign, reference)
    print(f"bundle    {done.path}")
    for line in _facts(done.bundle):
        print(line)


@bundle.command("verify")
def verify(
    path: Annotated[Path, typer.Argument(metavar="BUNDLE", help="a folder or a .zip file")],
    key: Annotated[Path | None, typer.Option(metavar="FILE", help=KEY)] = None,
) -> None:
    """Check a bundle before anything is done with it; exit code 2 at the first check that fails."""
    from ..api.bundle import verify_bundle

    for line in _facts(verify_bundle(path, key)):
        print(line)


@bundle.command("rollback")
def rollback(
    store: Annotated[Path, typer.Argument(metavar="FOLDER", help="a folder of bundles; its file CURRENT names one")],
    key: Annotated[Path, typer.Option(metavar="FILE", help=KEY)],
) -> None:
    """Name the version before the current one in CURRENT, of those that are signed and pass every check."""
    from ..api.bundle import rollback_bundle

    done = rollback_bundle(store, key)
    print(f"before    {done.before}")
    print(f"now       {done.now}  (version {done.version})")
    for line in done.passed_over:
        print(f"passed    {line}")


@bundle.command("convert")
def convert(
    source: Annotated[Path, typer.Argument(metavar="FILE_OR_DIR", help="a pickled model, or a bundle with one")],
    key: Annotated[str | None, typer.Option(metavar="KEY", help="of several sets of weights only this one")] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="default: beside it, as .safetensors")] = None,
) -> None:
    """Write pickled weights anew for a bundle, without running anything in them, as `sansdata convert` does."""
    from ..api.bundle import convert_bundle

    for line in lines_of(convert_bundle(source, key, out)):
        print(line)


def _facts(made: Any) -> list[str]:
    """What was found of a bundle, a line for each check."""
    signature = "none"
    if made.signer:
        signature = f"by the key {made.signer[:16]}"
    elif made.signed:
        signature = "present, not checked: give the maker's public key with --key"
    return [
        f"files     {len(made.files)}, each with the hash that SHA256SUMS has; none beside them",
        f"signature {signature}",
        f"model     {' x '.join(made.task.pair)}, version {made.metadata.version}: {made.metadata.description}",
        f"golden    {made.description.golden.count} inputs answered within {made.worst:.1e} "
        f"({made.description.golden.tolerance:.0e} allowed)",
        f"weights   {made.weights}",
        f"digest    {made.digest}",
    ]


def _as_text(settings: Mapping[str, Any]) -> dict[str, Any]:
    """version=1.0 is read as a number, and is a text."""
    version = settings.get("version")
    return {**settings, "version": str(version)} if isinstance(version, (int, float)) else dict(settings)
