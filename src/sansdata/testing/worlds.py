"""Tiny worlds to distil in, one per pair of kinds: teachers and tasks of which a whole run takes a second."""

from __future__ import annotations

import copy
import tempfile
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from ..config import dump_yaml
from ..decoding.image_pool import ImagePool
from ..kinds.index import input_kind
from ..kinds.inputs.table_bins import TableBins
from ..models.build import architecture_of, build
from ..models.fair_image_vae import FairImageVAE
from ..models.fair_vae import FairVAE
from ..models.saved import write_model
from ..network import Network
from ..tasks import (
    ClassesSpec,
    ClipSpec,
    Column,
    FieldSpec,
    ImageSpec,
    ImageTask,
    MasksSpec,
    MultilabelSpec,
    NoiseSpec,
    PairTask,
    SpanSpec,
    TableSpec,
    Task,
    TokensSpec,
    TranscriptSpec,
    TwoTextsSpec,
    VectorsSpec,
    WaveformSpec,
    WaysSpec,
)
from ..teachers import autoencoder
from ..teachers.autoencoder import PictureAutoEncoder
from ..teachers.autoencoder.base import AutoEncoder, Moments, Sensitive
from ..teachers.autoencoder.students import before_decoder
from ..teachers.base import Teacher
from ..teachers.panel import Api, Panel
from ..teachers.writers import asking, cached_ngram, continuing
from ..teachers.writers.asking import AskingNGrams
from ..teachers.writers.cached_ngram import CachedNGrams
from ..teachers.writers.continuing import ContinuingNGrams
from ..teachers.writers.files import save_writer
from ..teachers.writers.ngram import KIND, NGrams
from ..teachers.writers.teacher import teacher_of
from ..teachers.writers.vocabulary import tokenizer_of

CLASSES = 4
"""Of every world but that of clips."""


def make_task(shape: tuple[int, int, int] = (1, 8, 8)) -> ImageTask:
    return ImageTask(shape=shape, classes=CLASSES, mean=(0.5,) * shape[0], std=(0.25,) * shape[0])


def zoo(channels: int = 1, scale: float = 1.0) -> dict[str, Any]:
    return {"kind": "zoo", "name": "resnet8", "args": {"channels": channels, "classes": CLASSES, "scale": scale}}


def make_module(shape: tuple[int, int, int] = (1, 8, 8), seed: int = 0) -> nn.Module:
    """A ResNet-8 whose BatchNorm has seen a few batches and whose answers differ from class to class."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module: Any = build(zoo(shape[0])).train()
        with torch.no_grad():
            for _ in range(30):
                module(torch.randn(32, *shape))
            module.linear.weight.mul_(4)
    return module.eval()


def make_student(channels: int = 1, seed: int = 1) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(zoo(channels, 0.25))


def make_table_task() -> PairTask:
    """Every sort of column: any number, a whole one, one that may be missing, two categories."""
    columns = (
        Column(name="size", range=(-2.0, 6.0)), Column(name="count", range=(0, 9), whole=True),
        Column(name="doubt", range=(0.0, 1.0), missing=True), Column(name="colour", levels=("red", "green", "blue")),
        Column(name="shape", levels=("round", "square"), missing=True),
    )  # fmt: skip
    return PairTask(inputs=TableSpec(columns=columns), outputs=ClassesSpec(classes=CLASSES))


def make_tokens_task() -> PairTask:
    return PairTask(inputs=TokensSpec(vocabulary=40, length=12), outputs=ClassesSpec(classes=CLASSES))


def make_two_texts_task() -> PairTask:
    inputs = TwoTextsSpec(vocabulary=40, length=10, first_length=14)
    return PairTask(inputs=inputs, outputs=ClassesSpec(classes=CLASSES))


def make_spans_task() -> PairTask:
    return PairTask(inputs=TwoTextsSpec(vocabulary=40, length=10, first_length=14), outputs=SpanSpec(longest=4))


def make_masks_task() -> PairTask:
    door = {"mean": [0.5], "std": [0.25]}
    return PairTask(inputs=ImageSpec(shape=(1, 8, 8)), outputs=MasksSpec(classes=CLASSES), preprocessing=door)


def make_clips_task() -> PairTask:
    """Two classes, for which a network may give one map."""
    door = {"mean": [0.2], "std": [0.2]}
    return PairTask(inputs=ClipSpec(shape=(1, 4, 8, 8)), outputs=MasksSpec(classes=2), preprocessing=door)


def make_noise_task() -> PairTask:
    """Points of eight labels, each of them made by a sampler of four steps."""
    outputs = FieldSpec(range=(-3.0, 3.0), steps=4)
    return PairTask(inputs=NoiseSpec(shape=(2,), labels=8), outputs=outputs)


def make_sounds_task() -> PairTask:
    """An eighth of a second in 8 bands of 12 frames."""
    door = {"window": 128, "hop": 96, "mels": 8}
    return PairTask(
        inputs=WaveformSpec(rate=8000, length=1024), outputs=ClassesSpec(classes=CLASSES), preprocessing=door
    )


def make_tags_task() -> PairTask:
    """The same sounds with labels that do not exclude each other."""
    sounds = make_sounds_task()
    return PairTask(inputs=sounds.inputs, outputs=MultilabelSpec(classes=CLASSES), preprocessing=sounds.preprocessing)


def make_transcripts_task() -> PairTask:
    """Four letters of the same sounds."""
    outputs = TranscriptSpec(alphabet="abcd", length=4)  # type: ignore[call-arg]
    door = {"window": 128, "hop": 96, "mels": 8}
    return PairTask(inputs=WaveformSpec(rate=8000, length=1024), outputs=outputs, preprocessing=door)


@dataclass(frozen=True)
class World:
    """A pair of kinds, small. network: the zoo's name of the teacher's architecture."""

    task: Task
    network: str

    def module(self, scale: float = 1.0, seed: int = 0) -> nn.Module:
        """Answers differ from input to input; BatchNorm, where there is some, has seen a few batches."""
        return copy.deepcopy(self._made(scale, seed))

    @lru_cache(maxsize=16)  # noqa: B019 - worlds are few and last as long as the tests
    def _made(self, scale: float, seed: int) -> nn.Module:
        architecture = architecture_of(self.network, self.task)
        architecture["args"]["scale"] = scale
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            module: Any = build(architecture).train()
            network, kind = Network.of(module, self.task), input_kind(self.task)
            with torch.no_grad():
                for number in range(30):
                    network(kind.draw(32, torch.Generator().manual_seed(number)))
                self.sharpen(module)
        return module.eval()

    def sharpen(self, module: Any) -> None:
        """Makes answers differ from input to input."""
        module.head.weight.mul_(8)

    def teacher(self) -> Teacher:
        return Teacher.from_module(self.module(), self.task)

    def student(self) -> nn.Module:
        return self.module(0.25, seed=1)

    small: ClassVar[str] = "shrink:0.25"
    """The spec of its student."""

    def save(self, path: Path) -> None:
        """Writes the teacher's file."""
        save_file({name: value.contiguous() for name, value in self.module().state_dict().items()}, path)

    def spec(self, path: Path) -> str:
        """The spec of the teacher that `save` wrote."""
        return f"{self.network}@{path}"


LATENT = 5


def make_autoencoder(seed: int = 0) -> AutoEncoder:
    """Of the tiny table, whose colours are in two groups; it has learnt nothing."""
    task = make_table_task()
    bins = {
        "size": ((-2.0, 0.0), (0.0, 0.0), (0.5, 6.0)), "count": ((0.0, 4.0), (4.0, 9.0)),
        "doubt": ((0.0, 0.5), (0.5, 1.0)),
    }  # fmt: skip
    groups = Sensitive(
        column="colour", groups=(("red",), ("green", "blue")), names=("red", "others"), shares=(0.5, 0.3, 0.2)
    )
    coded = TableBins(task, "colour", bins)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        vae = FairVAE(sum(coded.sizes), 2, LATENT, 12)
        factors = torch.randn(2, LATENT, LATENT).tril(-1) * 0.2 + torch.eye(LATENT)
        moments = Moments(torch.tensor([0.25, 0.75]), torch.randn(2, LATENT), factors)
    return AutoEncoder(vae.eval().requires_grad_(False), coded, groups, 1, moments)


@dataclass(frozen=True)
class LatentsWorld(World):
    """A teacher that draws latents: a fair autoencoder of the tiny table."""

    small: ClassVar[str] = "latent-mlp-small"

    def teacher(self) -> Teacher:
        return autoencoder.teacher_of(make_autoencoder(), self.task)

    def student(self) -> nn.Module:
        return self.module(1.0, seed=1)

    def save(self, path: Path) -> None:
        autoencoder.save_autoencoder(path, make_autoencoder())

    def spec(self, path: Path) -> str:
        return str(path)


def make_picture_autoencoder(seed: int = 0) -> PictureAutoEncoder:
    """Of pictures of 8 x 8 in two groups; it has learnt nothing, but its pictures differ."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        vae = FairImageVAE((1, 8, 8), 2, CLASSES, LATENT)
        with torch.no_grad():
            for part in vae.decoder.layers:
                if hasattr(part, "weight"):
                    part.weight.mul_(3)  # type: ignore[operator, union-attr]
        moments = Moments(torch.tensor([0.25, 0.75]), torch.randn(2, LATENT), torch.eye(LATENT).repeat(2, 1, 1))
    names = tuple(f"class {number}" for number in range(CLASSES))
    return PictureAutoEncoder(
        vae.eval().requires_grad_(False), (1, 8, 8), ("red", "others"), names, (0.4, 0.6), LATENT, moments
    )


@dataclass(frozen=True)
class DecodedWorld(World):
    """A teacher that decodes latents into pictures of a group, and a student that draws latents before that decoder."""

    small: ClassVar[str] = "latents:latent-mlp-small"

    def teacher(self) -> Teacher:
        return autoencoder.picture_teacher_of(make_picture_autoencoder(), self.task)

    def module(self, scale: float = 1.0, seed: int = 0) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return before_decoder(self.small, self.teacher())[0]

    def save(self, path: Path) -> None:
        autoencoder.save_picture_autoencoder(path, make_picture_autoencoder())

    def spec(self, path: Path) -> str:
        return str(path)


@dataclass(frozen=True)
class ReaderWorld(World):
    """A decoder whose tokens follow from the sounds more than from the token before."""

    def sharpen(self, module: Any) -> None:
        for convolution in (module.encoder.conv1, module.encoder.conv2):
            convolution.weight.mul_(8)
        module.encoder.positions.mul_(0.3)
        for block in module.decoder.blocks:
            for part in (block.cross.memory, block.cross.out):
                part.weight.mul_(10)
        module.decoder.embedding.weight.mul_(2)


@dataclass(frozen=True)
class ImageWorld(World):
    """The world of most methods; its teacher is as old as the tests."""

    def module(self, scale: float = 1.0, seed: int = 0) -> nn.Module:
        return make_module() if scale == 1 else make_student()


@dataclass(frozen=True)
class WriterWorld(World):
    """A teacher that writes: trigrams of a made-up language in which each class has words of its own."""

    task: Task = field(init=False)
    network: str = ""
    small: ClassVar[str] = "bag"

    def __post_init__(self) -> None:
        """The task is made when it is first asked for, since its tokenizer is a file."""

    def __getattr__(self, name: str) -> Any:
        if name != "task":
            raise AttributeError(name)
        folder = tempfile.TemporaryDirectory(prefix="sansdata-world-")  # removed when the process ends
        file = Path(folder.name) / "tokenizer.json"
        file.write_bytes(tokenizer_of(self.texts(), 60, words="spaces"))
        task = PairTask(inputs=self.inputs(str(file)), outputs=self.outputs())
        self.__dict__.update(task=task, folder=folder)
        return task

    def texts(self) -> list[str]:
        return [text for text, _ in made_up_texts()]

    def outputs(self) -> Any:
        return _named_classes()

    def inputs(self, tokenizer: str) -> Any:
        return TokensSpec(vocabulary=60, length=12, tokenizer=tokenizer)

    def writer(self) -> NGrams:
        return NGrams.fitted(made_up_texts(), self.task.class_names)

    def teacher(self) -> Teacher:
        return teacher_of(self.writer(), self.task)

    def module(self, scale: float = 1.0, seed: int = 0) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return build(architecture_of(self.small, self.task))

    def save(self, path: Path) -> None:
        writer = self.writer()
        save_writer(path, KIND, writer.classes, writer.vocabulary, writer.tensors())

    def spec(self, path: Path) -> str:
        return str(path)


@dataclass(frozen=True)
class WordedWorld(WriterWorld):
    """A classifier of texts whose task has a tokenizer, beside the texts of the writer's world."""

    def teacher(self) -> Teacher:
        return Teacher.from_module(self._sharp(), self.task)

    def _sharp(self) -> nn.Module:
        module: Any = self.module()
        with torch.no_grad():
            module.head.weight.mul_(8)
            module.embedding.weight.mul_(3)
        return module.eval()

    def save(self, path: Path) -> None:
        save_file({name: value.contiguous() for name, value in self._sharp().state_dict().items()}, path)

    def spec(self, path: Path) -> str:
        return f"{self.small}@{path}"


def save_continuing_writer(path: Path) -> Path:
    """A language model of the texts of the writer's world, without their classes."""
    writer = ContinuingNGrams.fitted([text for text, _ in made_up_texts()])
    save_writer(path, continuing.KIND, [continuing.ANY], writer.vocabulary, writer.tensors())
    return path


@dataclass(frozen=True)
class TwoTextsWriterWorld(WriterWorld):
    """One that writes second texts to first ones, which it writes too: half of their words are of the first."""

    small: ClassVar[str] = "siamese-bag"

    def inputs(self, tokenizer: str) -> Any:
        return TwoTextsSpec(vocabulary=60, length=12, first_length=10, tokenizer=tokenizer)

    def writer(self) -> CachedNGrams:  # type: ignore[override]
        texts = made_up_texts()
        firsts = [texts[(7 * place) % len(texts)][0] for place in range(len(texts))]
        both = [
            (first, f"{text} {' '.join(first.split()[: 2 * label])}", label)
            for first, (text, label) in zip(firsts, texts)
        ]
        return CachedNGrams.fitted(both, self.task.class_names)

    def save(self, path: Path) -> None:
        writer = self.writer()
        save_writer(path, cached_ngram.KIND, writer.classes, writer.vocabulary, writer.tensors())


@dataclass(frozen=True)
class AskerWorld(WriterWorld):
    """One that writes questions for parts of contexts: who or how many, and words that stand beside the answer."""

    small: ClassVar[str] = "span-conv"

    def outputs(self) -> Any:
        return SpanSpec(longest=4)

    def texts(self) -> list[str]:
        return [text for context, question, _ in made_up_questions() for text in (context, question)]

    def inputs(self, tokenizer: str) -> Any:
        return TwoTextsSpec(vocabulary=60, length=10, first_length=14, tokenizer=tokenizer)

    def writer(self) -> AskingNGrams:  # type: ignore[override]
        return AskingNGrams.fitted(made_up_questions())

    def save(self, path: Path) -> None:
        writer = self.writer()
        save_writer(path, asking.KIND, asking.SORTS, writer.vocabulary, writer.tensors())


@dataclass(frozen=True)
class SpansWorld(World):
    """A reader that points to a part of a text."""

    def sharpen(self, module: Any) -> None:
        module.plain.weight.mul_(20)
        module.places.weight.mul_(8)


@dataclass(frozen=True)
class NoiseWorld(World):
    """A teacher that denoises exactly, and a student that makes points."""

    small: ClassVar[str] = "point-net-small"

    def module(self, scale: float = 1.0, seed: int = 0) -> nn.Module:
        name = self.network if scale == 1 else self.small
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return build(architecture_of(name, self.task)).eval()


@dataclass(frozen=True)
class PanelWorld(World):
    """Two classifiers that share one of their classes: the world of methods that ask several APIs."""

    small: ClassVar[str] = "conv4"
    labels: ClassVar[tuple[tuple[str, ...], ...]] = (("a", "b", "c"), ("c", "d", "e"))

    def api(self, number: int) -> nn.Module:
        task = _api_task()
        return copy.deepcopy(World(task, self.network)._made(0.25, number))

    def teacher(self) -> Panel:
        task = _api_task()
        apis = [
            Api(f"api{number}", Teacher.from_module(self.api(number), task), names)
            for number, names in enumerate(self.labels)
        ]
        return Panel(apis, task.shape, task.mean, task.std)

    def save(self, path: Path) -> None:
        """A file for each API and the panel's, beside one another."""
        task, apis = _api_task(), []
        for number, names in enumerate(self.labels):
            file = path.with_name(f"{path.stem}-{number}.safetensors")
            architecture = architecture_of(self.network, task)
            architecture["args"]["scale"] = 0.25
            write_model(file, self.api(number), architecture, task, {})
            apis.append({"name": f"api{number}", "teacher": file.name, "classes": list(names)})
        panel = {"shape": list(task.shape), "mean": list(task.mean), "std": list(task.std), "apis": apis}
        path.with_suffix(".yaml").write_text(dump_yaml(panel))

    def spec(self, path: Path) -> str:
        return str(path.with_suffix(".yaml"))


def _api_task() -> ImageTask:
    return ImageTask(shape=(1, 8, 8), classes=3, mean=(0.5,), std=(0.25,))


def make_panel_task() -> PairTask:
    task = _api_task()
    return PairTask(
        inputs=ImageSpec(shape=task.shape), outputs=WaysSpec(classes=task.classes),
        preprocessing=task.own_preprocessing,
    )  # fmt: skip


def _named_classes() -> ClassesSpec:
    return ClassesSpec(classes=CLASSES, class_names=tuple(f"class {number}" for number in range(CLASSES)))


def made_up_texts(count: int = 40) -> list[tuple[str, int]]:
    """(text, class): words of ten that all classes share and of five that only one has."""
    random = np.random.default_rng(5)
    texts = []
    for number in range(count * CLASSES):
        label = number % CLASSES
        words = [f"w{word}" if word < 10 else f"c{label}w{word}" for word in random.integers(0, 15, 8)]
        texts.append((" ".join(words), label))
    return texts


def made_up_questions(count: int = 60) -> list[tuple[str, str, str]]:
    """(context, question, answer): one that did something a number of times with another; who did it, or how often."""
    random = np.random.default_rng(7)
    rows = []
    for number in range(count):
        who, what, whom = (f"{word}{'abcdef'[random.integers(0, 6)]}" for word in ("kind", "verb", "other"))
        context = f"the {who} and {what} for {number % 7 + 1} of {whom}"
        if number % 3:
            rows.append((context, f"who is the one and {what} of {whom}", who))
        else:
            rows.append((context, f"how many of {whom} are for {who}", str(number % 7 + 1)))
    return rows


WORLDS: dict[str, World] = {
    "image": ImageWorld(make_task(), "resnet8"),
    "table": World(make_table_task(), "mlp-small"),
    "tokens": World(make_tokens_task(), "bag"),
    "writer": WriterWorld(),
    "writer-of-two": TwoTextsWriterWorld(),
    "asker": AskerWorld(),
    "worded": WordedWorld(),
    "spans": SpansWorld(make_spans_task(), "span-conv"),
    "two-texts": World(make_two_texts_task(), "siamese-bag"),
    "masks": World(make_masks_task(), "unet-small"),
    "clips": World(make_clips_task(), "convlstm-1x1"),
    "latents": LatentsWorld(
        PairTask(inputs=NoiseSpec(shape=(LATENT,)), outputs=VectorsSpec(size=LATENT)), "latent-mlp-small"
    ),
    "decoded": DecodedWorld(autoencoder.picture_task_of(make_picture_autoencoder()), "latents"),
    "noise": NoiseWorld(make_noise_task(), "ring"),
    "panel": PanelWorld(make_panel_task(), "conv4"),
    "sounds": World(make_sounds_task(), "mel-cnn-small"),
    "tags": World(make_tags_task(), "mel-cnn-small"),
    "transcripts": ReaderWorld(make_transcripts_task(), "recogniser"),
}


def pool_images(shape: tuple[int, int, int], count: int = 48) -> np.ndarray:
    """uint8 (N, H, W, C): bars and noise, which the tiny teachers do not all take for one class."""
    channels, height, width = shape
    random = np.random.default_rng(3)
    images = random.integers(0, 256, (count, height, width, channels), dtype=np.uint8)
    images[::2, : height // 2] //= 4
    images[::3, :, width // 2 :] = 255 - images[::3, :, width // 2 :] // 8
    return images


def make_pool(shape: tuple[int, int, int] = (1, 8, 8), count: int = 48) -> ImagePool:
    images = torch.from_numpy(pool_images(shape, count)).permute(0, 3, 1, 2).contiguous()
    return ImagePool(Path("pool"), images, count, 0, "none", 0)
