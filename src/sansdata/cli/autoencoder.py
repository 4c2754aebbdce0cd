"""`sansdata autoencoder`: a data owner's side of fair synthetic rows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..config import parse_override, set_dotted
from ..errors import ConfigError
from ..tasks import load_task
from . import words

SENSITIVE = "a column of categories, or COLUMN=LEVEL,... for these levels against the others; of pictures an array"
HANDOVER = "what of the rows' latents goes into the file: prior, moments or latent-bank"


def autoencoder(
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[key=value ...]", help="weight, dependence, epochs, bins and so on")
    ] = None,
    data: words.OptionalData = None,
    sensitive: Annotated[str | None, typer.Option(metavar="COLUMN", help=SENSITIVE)] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="a new directory for the teacher and its task")
    ] = None,
    task: words.OptionalTask = None,
    positive: Annotated[
        str | None, typer.Option(metavar="CLASS", help="the class that it is good to be given; default: the second")
    ] = None,
    handover: Annotated[str | None, typer.Option(metavar="MODE", help=HANDOVER)] = None,
    seed: Annotated[int, typer.Option(metavar="N")] = 0,
) -> None:
    """Train a fair autoencoder on real rows or pictures: the teacher of `distill --method fair4free`. Reads data."""
    if data is None or sensitive is None or out is None:
        raise ConfigError(
            "--data TABLE, --sensitive COLUMN and --out DIR are needed: what to learn, fair to whom, where"
        )
    job = load_task(task).model_dump(mode="json") if task else None
    settings: dict[str, Any] = {} if handover is None else {"handover": handover}
    for text in overrides or ():
        set_dotted(settings, *parse_override(text))
    if job is not None and load_task(job).pair == ("image", "classes"):
        if positive is not None:
            raise ConfigError("--positive is of tables: a picture's classes are drawn as they are")
        _of_pictures(data, sensitive, out, job, settings, seed)
        return
    from ..api.autoencoder import FILE, TASK, write_autoencoder

    done = write_autoencoder(data, sensitive, out, task=job, positive=positive, settings=settings, seed=seed)
    model = done.model
    print(f"teacher   {done.folder / FILE}")
    print(f"task      {done.folder / TASK}  (of its students: noise into latents of {model.latent})")
    print(f"learnt    {done.rows:,} rows, {sum(model.bins.sizes)} bins of {len(model.bins.sizes)} columns")
    groups = model.sensitive
    shares = ", ".join(f"{name} {words.percent(float(part))}" for name, part in zip(groups.names, model.shares))
    print(f"groups    of '{groups.column}': {shares}")
    aucs = f"{done.group_auc:.3f} (.5: not at all), the class with {done.class_auc:.3f}"
    print(f"latents   tell the group with AUROC {aucs}")
    print(f"holds     {_held(done, 'rows', 'both networks, the bins and the share of each group')}")


def _of_pictures(
    data: Any, sensitive: str, out: Path, job: dict[str, Any], settings: dict[str, Any], seed: int
) -> None:
    from ..api.autoencoder import FILE, TASK
    from ..api.picture_autoencoder import write_picture_autoencoder

    done = write_picture_autoencoder(data, sensitive, out, task=job, settings=settings, seed=seed)
    model = done.model
    print(f"teacher   {done.folder / FILE}")
    print(f"task      {done.folder / TASK}  (of its students: noise of {model.latent} and a group into pictures)")
    print(f"learnt    {done.count:,} pictures of {'x'.join(map(str, model.shape))}")
    shares = ", ".join(f"{name} {words.percent(float(part))}" for name, part in zip(model.names, model.shares))
    print(f"groups    {shares}")
    aucs = f"{done.group_auc:.3f} (.5: not at all), the class with {done.class_auc:.3f}"
    print(f"latents   tell the group with AUROC {aucs}")
    print(f"holds     {_held(done, 'pictures', 'both networks and the share of each group')}")


def _held(done: Any, what: str, always: str) -> str:
    """What of real rows or pictures leaves the house with the file."""
    model = done.model
    if model.bank is not None:
        return f"latents of {len(model.bank.latents):,} real {what}: personal data. Its students are not data-free"
    if model.moments is None:
        return f"{always}; nothing of the {what}' latents"
    return f"{always}; of the {what}' latents a mixture of {len(model.moments.weights)} Gaussian(s)"
