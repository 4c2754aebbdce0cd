"""Real texts of the recipes, and the tokenizers, classifiers and language models that are trained on them, once, and
kept."""

from __future__ import annotations

import csv
import fcntl
import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ..datasets.imageset import pick
from ..datasets.labelled import KindSet
from ..errors import DataError
from ..files import write_atomic
from ..kinds.inputs.tokens import Tokens
from ..models.build import architecture_of, build
from ..models.modes import fixed
from ..network import Network
from ..runtime import make_runtime
from ..streams import Streams
from ..tasks import ClassesSpec, PairTask, Task, TokensSpec
from ..teachers.writers import continuing
from ..teachers.writers.files import save_writer
from ..teachers.writers.vocabulary import pieces
from .teachers import cache, keep_weights

UNKNOWN, PADDING = "[UNK]", "[PAD]"
TWEETS = ("emotion", "hate", "irony", "offensive")
SIGNS = {"@", "user", "url", "http", "amp", "#"}
"""What tweets are full of and sentences are not."""
HIDDEN = 0.2
"""Share of the words of a training text that are made unknown: a teacher that has only seen whole texts overfits."""


@dataclass(frozen=True)
class Texts:
    """Texts and their classes (N,)."""

    texts: tuple[str, ...]
    labels: np.ndarray
    classes: int

    def __len__(self) -> int:
        return len(self.texts)

    def at(self, places: Sequence[int] | np.ndarray) -> Texts:
        return Texts(tuple(self.texts[place] for place in places), self.labels[places], self.classes)

    def read(self, task: Task, source: str = "texts of a recipe") -> KindSet:
        """As ids of the task's tokenizer."""
        names = tuple(map(str, range(self.classes)))
        return KindSet(task, Tokens(task.inputs).read(self.texts), self.labels, names, source)


def data_root() -> Path:
    """Raises DataError where SANSDATA_DATA is not set."""
    root = os.environ.get("SANSDATA_DATA")
    if root is None:
        raise DataError("set SANSDATA_DATA to the folder of the recipes' data")
    return Path(root)


def lines(path: Path) -> list[str]:
    """Raises DataError where there is no such file."""
    if not path.is_file():
        raise DataError(f"the recipe's data {path} is not there")
    return path.read_text(encoding="utf-8", errors="replace").splitlines()


def _sst2() -> tuple[Texts, Texts]:
    def part(split: str) -> Texts:
        rows = [line.rpartition("\t") for line in lines(data_root() / f"text/sst2/{split}.tsv")]
        return Texts(tuple(text for text, _, _ in rows), np.array([int(label) for _, _, label in rows]), 2)

    return part("train"), part("test")


def _trec() -> tuple[Texts, Texts]:
    """Of the training part, which is all there is, 1,000 questions drawn by class with seed 0 are the test."""
    rows = [line.partition(" ") for line in lines(data_root() / "text/trec/TREC.train.all")]
    whole = Texts(tuple(text for _, _, text in rows), np.array([int(label) for label, _, _ in rows]), 6)
    rest, test = pick(whole.labels, 1000, seed=0)
    return whole.at(rest), whole.at(test)


def _xlmt(*languages: str) -> tuple[Texts, Texts]:
    """Tweets, negative, neutral or positive; of several languages one behind the other."""

    def part(split: str) -> Texts:
        texts: list[str] = []
        labels: list[int] = []
        for language in languages:
            folder = data_root() / "text/xlmt_sentiment" / language
            texts += lines(folder / f"{split}_text.txt")
            labels += map(int, lines(folder / f"{split}_labels.txt"))
        return Texts(tuple(texts), np.array(labels), 3)

    return part("train"), part("test")


def _ag_news() -> tuple[Texts, Texts]:
    """Headlines with their reports, words and signs parted by spaces, of four sections; of 7,600 that are there, 1,000
    drawn by class with seed 0 are the test."""
    rows = list(csv.reader(lines(data_root() / "text/agnews/test.csv")))
    texts = tuple(" ".join(pieces(f"{headline} . {report}", "letters")) for _, headline, report in rows)
    whole = Texts(texts, np.array([int(section) - 1 for section, _, _ in rows]), 4)
    rest, test = pick(whole.labels, 1000, seed=0)
    return whole.at(rest), whole.at(test)


LANGUAGES = ("english", "french", "german", "italian", "portuguese", "spanish")
SETS: dict[str, Callable[[], tuple[Texts, Texts]]] = {
    "sst2": _sst2,
    "trec": _trec,
    "ag-news": _ag_news,
    "xlmt": partial(_xlmt, *LANGUAGES),
    **{f"xlmt-{language}": partial(_xlmt, language) for language in LANGUAGES},
}
"""Name -> (training texts, test texts)."""


def train_tokenizer(path: Path, texts: Sequence[str], size: int) -> None:
    """A unigram tokenizer of at most `size` pieces, with the log-probability of each; lower case."""
    library = import_module("tokenizers")
    tokenizer = library.Tokenizer(library.models.Unigram())
    tokenizer.normalizer = library.normalizers.Lowercase()
    tokenizer.pre_tokenizer, tokenizer.decoder = library.pre_tokenizers.Metaspace(), library.decoders.Metaspace()
    trainer = library.trainers.UnigramTrainer(
        vocab_size=size, special_tokens=[PADDING, UNKNOWN], unk_token=UNKNOWN, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    write_atomic(path, tokenizer.to_str().encode())


def train_classifier(
    module: nn.Module,
    data: KindSet,
    epochs: int,
    lr: float,
    batch: int = 64,
    seed: int = 0,
    hidden: float = HIDDEN,
    balance: bool = False,
) -> nn.Module:
    """`module` after so many epochs of Adam and a one-cycle rate, in eval mode. hidden: share of unknown words.
    balance: classes count alike, however often they come."""
    runtime, streams, network = make_runtime(precision="fp32"), Streams(seed), Network.of(module, data.task)
    tokens, mask = data.packed["tokens"], data.packed["mask"]  # type: ignore[index]
    labels, unknown = torch.from_numpy(data.labels), Tokens(data.task.inputs).tokenizer
    assert unknown is not None
    place = unknown._loaded.token_to_id(UNKNOWN)
    each = max(1, len(labels) // batch)
    weights = len(labels) / (data.task.classes * labels.bincount(minlength=data.task.classes)) if balance else None
    learns = [parameter for parameter in module.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learns, lr, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=epochs * each)
    module.train()
    for step in range(epochs * each):
        streams.begin(step)
        if step % each == 0:
            order = torch.randperm(len(labels), generator=streams("order"))
        ids = order[step % each * batch :][:batch]
        drop = torch.rand(tokens[ids].shape, generator=streams("hidden")) < hidden
        inputs = runtime.place({"tokens": tokens[ids].masked_fill(drop, place), "mask": mask[ids]})
        with streams.as_global("dropout"):
            logits = runtime.forward(network, inputs).logits
        F.cross_entropy(logits, labels[ids].to(runtime.device), weights).backward()
        runtime.step(optimizer)
        schedule.step()
    return module.eval()


@dataclass(frozen=True)
class TextRecipe:
    """A classifier that a recipe trains. network: a zoo name. pieces, length: of its tokenizer and of a text."""

    data: str
    network: str = "bilstm"
    pieces: int = 4000
    length: int = 32
    epochs: int = 6
    lr: float = 2e-3

    def key(self) -> str:
        return hashlib.sha256(repr(self).encode()).hexdigest()[:8]


def ensure_classifier(recipe: TextRecipe) -> tuple[str, PairTask]:
    """(the teacher's spec, its task); tokenizer and network are trained first where they are not there. Several
    processes may ask at once: one trains, the others wait."""

    folder = cache() / f"{recipe.data}-{recipe.network}-{recipe.key()}"
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer, weights = folder / "tokenizer.json", folder / "teacher.safetensors"
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not tokenizer.is_file():
            train_tokenizer(tokenizer, SETS[recipe.data]()[0].texts, recipe.pieces)
        task = task_of(recipe, tokenizer)
        if not weights.is_file():
            print(f"training the teacher {recipe.network} of {recipe.data} for {recipe.epochs} epochs", flush=True)
            train, _ = SETS[recipe.data]()
            with Streams(0).as_global("teacher"):
                module = build(architecture_of(recipe.network, task))
            train_classifier(module, train.read(task), recipe.epochs, recipe.lr)
            keep_weights(weights, module)
    return f"{recipe.network}@{weights}", task


def task_of(recipe: TextRecipe, tokenizer: Path) -> PairTask:
    """Padding is id 0 of `train_tokenizer`."""
    inputs = TokensSpec(tokenizer=str(tokenizer), length=recipe.length)  # type: ignore[call-arg]
    return PairTask(inputs=inputs, outputs=ClassesSpec(classes=SETS[recipe.data]()[0].classes))


def classes_of(module: nn.Module, data: KindSet) -> np.ndarray:
    """(N,) what a network takes each text for."""
    network = Network.of(module, data.task)
    with torch.no_grad(), fixed(module):
        return torch.cat([network(inputs).logits.argmax(1) for inputs, _ in data.batches(256)]).numpy()


def ensure_writer() -> Path:
    """The file of an n-gram model of tweets, which have nothing to do with a classifier's own texts: what a public
    language model is to a method that steers it."""
    path = cache() / f"tweets-{continuing.KIND}.safetensors"
    if not path.is_file():
        writer = continuing.ContinuingNGrams.of_texts(tweets())
        path.parent.mkdir(parents=True, exist_ok=True)
        save_writer(path, continuing.KIND, writer.classes, writer.vocabulary, writer.tensors())
    return path


def tweets() -> list[str]:
    """The training texts of four tasks on tweets, without labels, in small letters; each once."""
    files = [data_root() / f"text/tweeteval/{name}/train_text.txt" for name in TWEETS]
    texts = [" ".join(word for word in pieces(line, "letters") if word not in SIGNS)
             for file in files for line in lines(file)]  # fmt: skip
    return list(dict.fromkeys(filter(None, texts)))
