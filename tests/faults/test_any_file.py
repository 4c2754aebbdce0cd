"""Any file is read or refused: bytes and trees that nobody wrote, in every format, within bounded memory and time.

Ten seconds of it stand in `make test`, on the same examples each time; SANSDATA_FUZZ_SECONDS (900) in `make test-long`,
on new ones. What it once broke stands below as a case of its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fuzz_inputs as inputs
import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, given
from hypothesis import strategies as st
from memory_limit import memory_within
from sklearn.tree import DecisionTreeClassifier
from tiny import make_task

from sansdata.config import dump_yaml, parse_override
from sansdata.datasets.images import load_images
from sansdata.decoding.image_pool import load_pool
from sansdata.errors import UserError
from sansdata.kinds.index import input_kind
from sansdata.models.pickles import walk
from sansdata.models.saved import read_model
from sansdata.models.torch_file import read_plain
from sansdata.settings import resolve_settings
from sansdata.tasks import KNOWN_TASKS, load_task
from sansdata.tasks.tokens import vocabulary_size
from sansdata.teachers.scores import load_skops
from sansdata.teachers.student_file import restore
from sansdata.teachers.transformer import load_transformer
from sansdata.teachers.weights import read_weights

SECONDS, MEGABYTES = 10.0, 700
"""Of processor time and more memory for one file; far above what any takes, since the machine may be busy."""
WINE = KNOWN_TASKS["wine"]
EXAMPLES = 25
"""Of each format in the short run."""


@dataclass(frozen=True)
class Format:
    """name: of the file. content: the strategy of its bytes. read: what reads it, and raises UserError or nothing."""

    name: str
    content: st.SearchStrategy[bytes]
    read: Callable[[Path], Any]


def mutated(*seeds: bytes) -> st.SearchStrategy[bytes]:
    return st.builds(inputs.edited, st.sampled_from(seeds), inputs.edits())


def as_json(*trees: Any) -> st.SearchStrategy[bytes]:
    changed = st.sampled_from(trees).flatmap(inputs.changed_trees)
    return changed.map(lambda tree: json.dumps(tree).encode())


def as_yaml(*trees: Any) -> st.SearchStrategy[bytes]:
    changed = st.sampled_from(trees).flatmap(inputs.changed_trees)
    return changed.map(lambda tree: dump_yaml(tree).encode(errors="surrogatepass"))


def read_student(path: Path) -> None:
    saved = read_model(path)
    restore(saved, path)


def read_torch(path: Path) -> None:
    with contextlib.suppress(UserError):
        read_weights(path)
    assert sum(1 for _ in walk(read_plain(path).tree)) < 10**6


def read_npz(path: Path) -> None:
    with contextlib.suppress(UserError):
        load_pool(path, (1, 8, 8))
    images = load_images(str(path), make_task())
    assert isinstance(images.images, np.ndarray)


def read_settings(path: Path) -> None:
    with contextlib.suppress(UserError):
        parse_override("key=" + path.read_bytes().decode(errors="replace"))
    resolve_settings(path, {})


def read_tokenizer(path: Path) -> None:
    from sansdata.kinds.inputs import tokenizer

    tokenizer._load.cache_clear()
    with contextlib.suppress(ValueError):  # what a task's validator raises, and pydantic turns into a TaskError
        vocabulary_size(path)
    load_task({"kind": "text-classification", "classes": 2, "tokenizer": str(path), "length": 8})
    read = tokenizer.Tokenizer.of(path)
    read.texts(*read.ids(["a b c", ""], 8, 0))
    assert read.scores is None or isinstance(read.scores, dict)
    assert isinstance(read.plain_ids, list)


def read_skops(path: Path) -> None:
    load_skops(path, WINE)


def read_folder(path: Path) -> None:
    load_transformer(path.parent, load_task({**inputs.TASKS[2], "vocabulary": 14}))


@pytest.fixture(scope="module")
def formats(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Format]:
    folder = tmp_path_factory.mktemp("seeds")
    student, packed = inputs.student(folder), inputs.packed_student(folder)
    described = inputs.derived(inputs.description_of(student))
    descriptions = st.sampled_from(described).flatmap(inputs.changed_trees)
    descriptions |= st.sampled_from(described).flatmap(
        lambda one: inputs.changed_trees(one["architecture"]).map(lambda new: {**one, "architecture": new})
    )
    plain, zipped, npz = inputs.plain_safetensors(), inputs.torch_file(False), (inputs.npz(False), inputs.npz(True))
    tokenizer = json.dumps(inputs.TOKENIZER).encode()
    tasks = [dump_yaml(task).encode() for task in inputs.TASKS]
    known = [
        Format("x.safetensors", mutated(plain, student) | inputs.changed_header(plain), read_weights),
        Format("student.safetensors", descriptions.map(lambda one: inputs.student_with(student, one)), read_student),
        Format(
            "packed.safetensors",
            mutated(packed)
            | inputs.changed_trees(inputs.description_of(packed)).map(lambda one: inputs.student_with(packed, one)),
            read_student,
        ),
        Format("x.pt", mutated(zipped) | inputs.changed_parts(zipped), read_torch),
        Format("x.pth", mutated(inputs.torch_file(True)), read_torch),
        Format("x.npz", mutated(*npz) | inputs.changed_parts(npz[0]) | inputs.changed_parts(npz[1]), read_npz),
        Format("settings.yaml", mutated(dump_yaml(inputs.SETTINGS).encode()) | as_yaml(inputs.SETTINGS), read_settings),
        Format("task.yaml", mutated(*tasks) | as_yaml(*inputs.TASKS), load_task),
        Format("tokenizer.json", mutated(tokenizer) | as_json(inputs.TOKENIZER), read_tokenizer),
    ]  # fmt: skip
    return {one.name: one for one in known}


@pytest.fixture(scope="module")
def estimator(tmp_path_factory: pytest.TempPathFactory) -> Format:
    skops = pytest.importorskip("skops.io")
    rows = input_kind(WINE).draw(40, torch.Generator().manual_seed(0))
    learnt = DecisionTreeClassifier(max_depth=2, random_state=0).fit(
        np.nan_to_num(input_kind(WINE).preprocessor({"door": "matrix"})(rows).numpy()), np.arange(40) % 3
    )
    raw = skops.dumps(learnt)
    return Format("x.skops", mutated(raw) | inputs.changed_parts(raw), read_skops)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory, transformers: Any) -> tuple[Format, Path]:
    """Of config.json in a folder of transformers, and the folder."""
    config = transformers.BertConfig(
        vocab_size=14, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=32, num_labels=2,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("bert")
    transformers.BertForSequenceClassification(config).save_pretrained(folder, safe_serialization=True)
    raw = (folder / "config.json").read_bytes()
    return Format("config.json", mutated(raw) | as_json(json.loads(raw)), read_folder), folder


NAMES = (
    "x.safetensors", "student.safetensors", "packed.safetensors", "x.pt", "x.pth", "x.npz", "settings.yaml",
    "task.yaml", "tokenizer.json",
)  # fmt: skip


def read_or_refuse(read: Callable[[Path], Any], path: Path) -> None:
    start = time.process_time()
    text = "refused"
    with warnings.catch_warnings(action="ignore"), memory_within(MEGABYTES), torch.random.fork_rng(devices=[]):
        try:
            read(path)
        except UserError as fault:
            text = str(fault)
    assert 0 < len(text) < 20_000
    assert not any(
        word in text for word in ("Traceback", "MemoryError", "allocate")
    )  # bounded, before it was asked for
    assert time.process_time() - start < SECONDS


def explore(one: Format, folder: Path, examples: int, **how: Any) -> None:
    path = folder / one.name

    @hypothesis.settings(
        max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck),
        phases=(Phase.generate,), **how,
    )  # fmt: skip
    @given(one.content)
    def holds(content: bytes) -> None:
        path.write_bytes(content)
        read_or_refuse(one.read, path)

    holds()


BROKE = {
    "a date that is none": ("settings.yaml", b"seed: !!timestamp 1"),
    "a flag that is none": ("settings.yaml", b"seed: !!bool maybe"),
    "a NUL in a spec": ("settings.yaml", b'student: "resnet8@a\\0.pt"'),
    "a kind of 9,000 letters": (
        "task.yaml",
        b"kind: image\ninputs: {kind: " + b"x" * 9000 + b"}\noutputs: {kind: classes}",
    ),
    "an image of 64 MB": ("task.yaml", b"kind: image\nshape: [1, 4096, 4096]\nclasses: 2\nmean: [0]\nstd: [1]"),
    "bytes that mean nothing": ("x.pt", b"PK\x05\x06" + bytes(18)),
}
"""What once raised something else, hung, or took memory: file, content."""


@pytest.mark.parametrize("name", BROKE)
def test_what_it_once_broke(formats, name, tmp_path):
    file, content = BROKE[name]
    (tmp_path / file).write_bytes(content)
    with pytest.raises(UserError):
        formats[file].read(tmp_path / file)
    read_or_refuse(formats[file].read, tmp_path / file)


def test_no_room_is_made_for_a_part_that_says_it_is_longer_than_its_file(tmp_path):
    """Python's reader of archives asks for as many stored bytes at once as the table of contents has."""
    path = tmp_path / "x.skops"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("schema.json", "{}")
    content = bytearray(path.read_bytes())
    entry = content.index(b"PK\x01\x02")
    content[entry + 20 : entry + 24] = (900_000_000).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(UserError, match="longer than the file"):
        read_skops(path)
    read_or_refuse(read_skops, path)


@pytest.mark.parametrize("name", NAMES)
def test_a_few_of_each(formats, name, tmp_path):
    if name == "tokenizer.json":
        pytest.importorskip("tokenizers")
    explore(formats[name], tmp_path, EXAMPLES, derandomize=True)


def test_a_few_estimators(estimator, tmp_path):
    explore(estimator, tmp_path, EXAMPLES, derandomize=True)


def for_a_while(one: Format, folder: Path) -> None:
    until = time.monotonic() + float(os.environ.get("SANSDATA_FUZZ_SECONDS", "900")) / (len(NAMES) + 2)
    while time.monotonic() < until:
        explore(one, folder, 100)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", NAMES)
def test_many_of_each(formats, name, tmp_path):
    if name == "tokenizer.json":
        pytest.importorskip("tokenizers")
    for_a_while(formats[name], tmp_path)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_many_estimators(estimator, tmp_path):
    for_a_while(estimator, tmp_path)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_many_folders(classifier):
    for_a_while(*classifier)
