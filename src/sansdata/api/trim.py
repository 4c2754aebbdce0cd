"""A classifier of texts cut down to the words of one language: `sansdata.trim`."""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .. import __version__
from ..compress.vocabulary import cut_tokenizer, cut_words, drop_layers, with_needed
from ..config import dump_yaml
from ..errors import ConfigError, DataError, StudentError
from ..files import read_regular, text_lines, user_path, write_atomic, write_json
from ..kinds.inputs.tokenizer import Tokenizer
from ..kinds.inputs.tokens import Tokens
from ..models.copying import private_copy
from ..models.entry import layer_of_words
from ..models.modes import usual_modes
from ..models.saved import write_model
from ..network import Network
from ..tasks import Task, load_task
from ..tasks.tokens import read_tokenizer
from ..teachers.folder import CONFIG, WEIGHTS, read_json
from ..teachers.specs import load_teacher, resolve
from ..teachers.transformer import TOKENIZER, Reordered, is_transformer
from .result import generator_kept, task_field

TASK, STUDENT = "task.yaml", "student.safetensors"
MAX_TEXT_BYTES = 512 * 2**20
LAYERS = "num_hidden_layers"
BATCH = 128


@dataclass(frozen=True)
class Trimmed:
    """The smaller network. agreement: share of the lines of text, 0..1, that are answered as before."""

    module: nn.Module
    task: Task
    """With the new tokenizer."""
    words: int
    parameters: int
    before: tuple[int, int]
    """The words and parameters that there were."""
    agreement: float
    folder: Path


@usual_modes()
def trim(
    model: str | Path, text: str | Path, out: str | Path, *, task: Any = None, layers: int | None = None, least: int = 1
) -> Trimmed:
    """Keeps of a classifier of texts the words that a language needs, and of its layers as many as asked.

    model: a SPEC of ours, a student file, or a folder of the library transformers, with its task. text: a file of the
    language, a line each: sentences, a list of words, or words and their counts after a tab. least: how often a piece
    must occur there to be kept. out: a new directory: the network with its tokenizer and the task that goes with both.
    Without `layers` a text of kept pieces is answered as before. Raises ConfigError, DataError, StudentError,
    TaskError, TeacherError.
    """
    if least < 1:
        raise ConfigError(f"least={least}: expected how often a piece must occur, 1 or more")
    folder = user_path(out)
    if os.path.lexists(folder):
        raise ConfigError(f"{folder} is there already; give the name of a new directory")
    network, job, architecture = _model(model, task)
    spec, lines = job.inputs, _lines(Path(text))
    tree = read_tokenizer(Path(spec.tokenizer))
    kept = with_needed(tree, _used(job, lines, least), spec.padding)
    module = cut_words(network.module, _layer(network, job), kept)
    module = module if layers is None else drop_layers(module, layers)
    config = _cut_config(Path(model), kept, layers) if architecture is None else {}
    folder.mkdir(parents=True)
    write_atomic(folder / TOKENIZER, json.dumps(cut_tokenizer(tree, kept), ensure_ascii=False).encode())
    changed = {
        "vocabulary": len(kept), "tokenizer": str((folder / TOKENIZER).resolve()), "padding": kept.index(spec.padding),
    }  # fmt: skip
    smaller = job.model_copy(update={"inputs": spec.model_copy(update=changed)})
    if architecture is None:
        _write_folder(folder, config, module)
    else:
        args = {**architecture["args"], "vocabulary": len(kept)} | ({} if layers is None else {"layers": layers})
        made = {"sansdata": __version__, "trimmed": f"{len(kept)} of {spec.vocabulary} words", "from": str(model)}
        write_model(folder / STUDENT, module, {**architecture, "args": args}, smaller, made)
    portable = smaller.model_dump(mode="json", exclude={"preprocessing"} if architecture is None else None)
    portable["inputs"]["tokenizer"] = TOKENIZER  # beside the task
    write_atomic(folder / TASK, dump_yaml(portable).encode())
    same = _agreement((network, job), (Network.of(module, smaller), smaller), [line for line, _ in lines])
    sizes = [sum(p.numel() for p in one.parameters()) for one in (module, network.module)]
    return Trimmed(module, smaller, len(kept), sizes[0], (spec.vocabulary, sizes[1]), same, folder)


def _model(model: str | Path, task: Any) -> tuple[Network, Task, dict[str, Any] | None]:
    """(a private copy in eval mode, its task, its architecture, None of a folder)."""
    if task is None:
        raise ConfigError(f"{model}: say its task (--task), which names the tokenizer that is to be cut")
    job = load_task(task_field(task))
    if job.pair != ("tokens", "classes") or not job.inputs.tokenizer:
        raise StudentError(
            f"words are cut for classifiers of texts with a tokenizer, and this is {' x '.join(job.pair)}"
        )
    with generator_kept():
        if is_transformer(Path(model)):
            own = load_teacher(str(model), job)
            if not own.network.preprocessor.describe().get("names") or own.task.own_preprocessing.get("door"):
                raise StudentError(f"{model}: reads by a tokenizer other than the task's; name its own in the task")
            return own.network, job.seen_through(own.task.own_preprocessing), None
        resolved = resolve(str(model), job, pretrained=True)
    architecture = resolved.architecture
    if architecture is None or architecture.get("kind") != "zoo":
        raise StudentError(f"{model}: only networks of ours and folders of transformers are cut so far")
    module = private_copy(resolved.module, StudentError).eval()
    return Network.of(module, resolved.task), resolved.task, architecture


def _layer(network: Network, job: Task) -> nn.Embedding:
    """The layer that reads the task's ids. Raises StudentError."""
    inputs: Any = Tokens(job.inputs).draw(2, torch.Generator().manual_seed(0))
    layer = layer_of_words(network.module, network.preprocessor(inputs), inputs["tokens"])
    if layer is None:
        raise StudentError("no layer of words (nn.Embedding) of the network reads the ids of the task")
    return layer


def _used(job: Task, lines: list[tuple[str, int]], least: int) -> list[int]:
    """Ids of the frame around every text, and those that occur so often in the texts, each of which counts as often as
    is said. Texts are read whole, however long the task's are: a list of words may stand in one line."""
    tokenizer = Tokenizer.of(job.inputs.tokenizer)
    times: Counter[int] = Counter()
    for line, count in lines:
        for place in tokenizer.encoded(line):
            times[place] += count
    before, behind = tokenizer.frame
    return [*before, *behind, *(place for place, count in times.items() if count >= least)]


def _lines(path: Path) -> list[tuple[str, int]]:
    """Texts, and how often each counts."""
    try:
        data = read_regular(path, MAX_TEXT_BYTES).decode("utf-8-sig")
    except (OSError, ValueError) as fault:
        raise DataError(f"{path}: cannot be read as text ({str(fault)[:200]})") from None
    rows = [line.rpartition("\t") for line in text_lines(data) if line.strip()]
    counted = [
        (word, int(times)) if word and times.isdecimal() and len(times) < 16 else (word + tab + times, 1)
        for word, tab, times in rows
    ]
    if not counted:
        raise DataError(f"{path}: holds no text of the language")
    return counted


def _cut_config(source: Path, kept: list[int], layers: int | None) -> dict[str, Any]:
    """The config.json of a folder with the new sizes. Raises StudentError where it does not say its layers."""
    config = dict(read_json(source / CONFIG))
    config["vocab_size"] = len(kept)
    if layers is not None:
        if LAYERS not in config:
            raise StudentError(f"{source}: its {CONFIG} has no {LAYERS}, so layers cannot be left out")
        config[LAYERS] = layers
    for name, place in config.items():
        if name.endswith("_token_id") and isinstance(place, int):
            config[name] = kept.index(place) if place in kept else None
    return config


def _write_folder(folder: Path, config: dict[str, Any], module: nn.Module) -> None:
    """As the library transformers reads it; of tied weights one, as the library has it."""
    from safetensors.torch import save

    own = module.module if isinstance(module, Reordered) else module
    tensors: dict[str, Any] = {}
    storages: set[int] = set()
    for name, value in own.state_dict().items():
        if value.data_ptr() not in storages:
            tensors[name] = value.contiguous()
        storages.add(value.data_ptr())
    write_json(folder / CONFIG, config)
    write_atomic(folder / WEIGHTS, save(tensors, {"format": "pt"}))


def _agreement(before: tuple[Network, Task], after: tuple[Network, Task], lines: list[str]) -> float:
    """Share of the lines to which both say the same."""
    same = 0
    with torch.no_grad():
        for start in range(0, len(lines), BATCH):
            part = lines[start : start + BATCH]
            old, new = (network(Tokens(job.inputs).read(part)).logits.argmax(1) for network, job in (before, after))
            same += int((old == new).sum())
    return same / len(lines)
