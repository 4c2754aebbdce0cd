"""Classifiers of texts and of images of the library `transformers`, from a local folder: config.json and
model.safetensors; for texts a tokenizer.json where the network has a vocabulary of its own, for images a
preprocessor_config.json. Nothing is fetched, and no code of the folder runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..errors import MissingLibraryError, TeacherError, UnsafeFileError, first_line
from ..files import sha256
from ..models.allocation import Allocation
from ..models.tensor_file import count_elements
from ..tasks import ImageTask, Task, TokensSpec
from . import folder as folders
from .base import Teacher, plain_copy
from .folder import CONFIG, PROCESSOR, WEIGHTS
from .trained_with import of_processor

ADAPTER, TOKENIZER, GENERATION = "adapter_config.json", "tokenizer.json", "generation_config.json"
NAMES = ("input_ids", "attention_mask")
HEADS = {"tokens": "ForSequenceClassification", "image": "ForImageClassification"}
"""Kind of input -> how the library calls its classifiers."""
UNNAMED = "LABEL_"
"""What the library calls a class without a name."""
ROOM = 32 * 2**20
"""Elements that a network may need beside those of its files."""
REMOTE = ("/", ":", "@")
"""In the name of an implementation of attention: it is code of a repository, with its revision."""
LONGEST = 512
"""Tokens that a network is given of a text where its own config names no limit."""


def is_transformer(path: Path) -> bool:
    """Whether a path is a folder of this kind."""
    return folders.is_folder(path) and not folders.is_timm_folder(path)


def transformer_files(folder: Path) -> list[Path]:
    """The files that reading such a folder opens."""
    named = [folder / name for name in (CONFIG, WEIGHTS, folders.INDEX, TOKENIZER, PROCESSOR, GENERATION)]
    return list(dict.fromkeys([*named, *sorted(folder.glob("*.safetensors"))]))


def load_transformer(folder: Path, task: Task) -> Teacher:
    """Any classifier that the library has an architecture for. Classes that both sides name are put into the task's
    order. Texts: where the folder's tokenizer is not the task's, its door puts the ids of the task into words and reads
    these anew. Images: mean and std are those of its preprocessor_config.json.

    Raises TeacherError for other jobs and missing files, UnsafeFileError where only pickled weights or remote code are
    there, MissingLibraryError without the library.
    """
    kind, output = task.pair
    config = folders.read_json(folder / CONFIG)
    listed = config.get("architectures")
    names = listed if isinstance(listed, list) else []
    named = [str(name) for name in names if str(name).endswith(tuple(HEADS.values()))]
    if kind not in HEADS or output != "classes" or (named and not named[0].endswith(HEADS[kind])):
        what = named[0] if named else "a classifier of texts or images"
        raise TeacherError(f"{folder}: {what}, and this is a task of {' x '.join(task.pair)}")
    require_no_code(folder, config)
    files = folders.weight_files(folder)
    module = read_module(folder, f"AutoModel{HEADS[kind]}", sum(map(count_elements, files)))
    labels = int(getattr(module.config, "num_labels", 0))
    if labels != task.classes:
        raise TeacherError(f"{folder}: gives {labels} classes and the task has {task.classes}")
    order = _order(module.config, task)
    wrapped = plain_copy(module if order is None else Reordered(module, order))
    notes = _named_otherwise(folder, module.config, task)
    if isinstance(task, ImageTask):
        own, more = _seen_by(folder, module.config, task)
        notes += more
    else:
        own = task.seen_through(_door(folder, module.config, task.inputs))
    return Teacher(wrapped, own, None, str(folder), folders.fingerprint(files), notes=notes)


def require_no_code(folder: Path, config: Mapping[str, Any]) -> None:
    """Raises UnsafeFileError where the folder names code or weights that lie elsewhere: the library fetches them."""
    if (folder / ADAPTER).exists():
        raise UnsafeFileError(
            f"{folder}: an adapter of another network ({ADAPTER}); give a folder of the whole network"
        )
    for name, value in _entries(config):
        if name == "auto_map" and value:
            raise UnsafeFileError(f"{folder}: its network is made by code of the folder (auto_map), which is not run")
        if name == "trust_remote_code" and value:
            raise UnsafeFileError(f"{folder}: asks for code to be trusted ({name}), which is not for a file to say")
        if "_implementation" in name and any(sign in str(value) for sign in REMOTE):
            raise UnsafeFileError(f"{folder}: asks for the code {str(value)[:100]} ({name[:60]}), which is not fetched")


def _entries(value: Any) -> Iterator[tuple[str, Any]]:
    """(name, value) of every object at any depth: networks within networks have a config of their own."""
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            yield from part.items()
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part


class Reordered(nn.Module):
    """A classifier whose classes are put into the order of the task."""

    def __init__(self, module: nn.Module, order: list[int]) -> None:
        super().__init__()
        self.module, self.order = module, order

    def forward(self, *images: Tensor, **columns: Tensor) -> Tensor:
        return self.module(*images, **columns).logits[:, self.order]


def read_module(folder: Path, auto: str, elements: int) -> nn.Module:
    """The network of the folder, whose files hold so many numbers: far more are not made for it."""
    try:
        library = import_module("transformers")
    except ImportError as fault:
        raise MissingLibraryError(f"{folder}: needs transformers ({fault}): pip install transformers") from None
    library.logging.disable_progress_bar()  # of the loading of weights, on a terminal that shows our own lines
    try:
        with Allocation(2 * elements + ROOM, f"{elements:,} numbers in its files, and its network"):
            module, loading = getattr(library, auto).from_pretrained(
                str(folder), local_files_only=True, trust_remote_code=False, use_safetensors=True,
                output_loading_info=True,
            )  # fmt: skip
    except ImportError as fault:  # its parts are imported late, and name what they lack behind the error
        raise MissingLibraryError(
            f"{folder}: {auto} of transformers does not load ({first_line(fault.__cause__ or fault)})"
        ) from None
    except Exception as fault:  # an architecture without such a head, weights that do not fit, a broken file
        raise TeacherError(f"{folder}: cannot be read as {auto.removeprefix('Auto')} ({str(fault)[:300]})") from None
    if missing := sorted(loading["missing_keys"]):  # the library would draw them at random
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise TeacherError(
            f"{folder}: its weights lack {', '.join(missing[:3])}{more}: a network before it was trained to classify?"
        )
    return module


def _names(config: Any) -> tuple[str, ...]:
    """What the network calls its classes, in their order; empty where it has no names."""
    theirs = {int(place): str(name) for place, name in (getattr(config, "id2label", None) or {}).items()}
    names = tuple(theirs[place] for place in sorted(theirs))
    return () if any(name.startswith(UNNAMED) for name in names) or len(set(names)) < len(names) else names


def _order(config: Any, task: Task) -> list[int] | None:
    """Places of the task's classes among the network's, where both name them alike; None leaves them as they are."""
    theirs = {str(name).lower(): int(place) for place, name in (getattr(config, "id2label", None) or {}).items()}
    ours = [name.lower() for name in task.class_names]
    if not ours or sorted(ours) != sorted(theirs):
        return None
    order = [theirs[name] for name in ours]
    return None if order == sorted(order) else order


def _named_otherwise(folder: Path, config: Any, task: Task) -> list[str]:
    """What to say where both sides name the classes, and not by the same names."""
    theirs, ours = _names(config), task.class_names
    if not theirs or not ours or sorted(map(str.lower, theirs)) == sorted(map(str.lower, ours)):
        return []
    first, second = (", ".join(names[:3]) + (", ..." if len(names) > 3 else "") for names in (theirs, ours))
    return [f"{folder}: calls its classes {first}, and the task {second}: they are taken in their order"]


def _seen_by(folder: Path, config: Any, task: ImageTask) -> tuple[Task, list[str]]:
    """(the task as this network of images sees it, with its names of the classes where the task has none; notes)"""
    channels = getattr(config, "num_channels", task.channels)
    if channels != task.channels:
        raise TeacherError(f"{folder}: takes {channels} channel(s) and the task has {task.channels}")
    names = _names(config)
    if names and not task.class_names:
        task = task.model_copy(update={"class_names": names})
    fields = folders.read_json(folder / PROCESSOR) if (folder / PROCESSOR).is_file() else {}
    training = of_processor(f"{folder}/{PROCESSOR}", fields) if fields else None
    if training is None:
        return task, [f"{folder}: no {PROCESSOR} that says mean and std: the task's are used"]
    return training.applied_to(task)


def _door(folder: Path, config: Any, spec: TokensSpec) -> dict[str, Any]:
    """Its preprocessing as a task describes it."""
    theirs, ours = folder / TOKENIZER, Path(spec.tokenizer)
    same = not theirs.is_file() or (spec.tokenizer and ours.is_file() and sha256(theirs) == sha256(ours))
    if same:
        if int(config.vocab_size) < spec.vocabulary:
            raise TeacherError(
                f"{folder}: knows {config.vocab_size} ids and the task has {spec.vocabulary}; put its tokenizer.json "
                "into the folder, so that texts can be read anew"
            )
        return {"names": list(NAMES)}
    reach = getattr(config, "max_position_embeddings", LONGEST) or LONGEST
    padding = getattr(config, "pad_token_id", 0)
    # Networks of RoBERTa's kind count positions from the padding id on, so that the last two cannot be used.
    length = min(int(reach) - 2, LONGEST) if int(reach) > 4 else int(reach)
    return {
        "door": "retokenise", "tokenizer": str(theirs), "length": length, "padding": padding or 0, "names": list(NAMES),
    }  # fmt: skip
