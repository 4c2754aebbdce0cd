"""uDistil-Whisper: a recogniser's pseudo-labels, sifted without labels (Waheed, Kadaoui, Raj & Abdul-Mageed, NAACL
2025, arXiv 2407.01257), and its parent Distil-Whisper (Gandhi, von Platen & Rush 2023, arXiv 2311.00430).

Their audio is recorded and nobody has written down what it says. Here it is spoken by programs, so that no recording is
needed either, and the text that was to be said is a reference that costs nothing. The recipe for synthetic speech is
ours; scores, filter and loss are the papers'.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import pydantic
import torch
from torch import Tensor

from ...arithmetic import ceil_div
from ...config import Strict
from ...contracts import Access, Batch, Forward, Losses, Requirements, Stateful
from ...errors import MethodError
from ...figures import Drawing, Figure, Finding
from ...kinds.index import input_kind
from ...kinds.inputs.waveform import Waveforms
from ...memory import Pool, Slot
from ...method import Context, Method
from ...objectives.edits import normalised
from ...objectives.logits import cross_entropy, kl
from ...synthesis.rooms import Rooms, in_rooms
from ...synthesis.voices import Speaker, Utterance, drawn, programs, require, speak, store
from ...training.transfer import TransferSettings
from .filters import area, below, best_share, groups_of
from .heard import Heard, of_classes
from .scores import SCORES
from .texts import read_texts

WEIGHTS = {"paper": (1.0, 0.8), "released": (0.8, 1.0)}
"""(of the pseudo-label, of KL): Distil-Whisper's section 4, and run_distillation.py of huggingface/distil-whisper,
where they are swapped."""


class UDistilConfig(Strict):
    """speakers: who says the texts. texts: a file with one on each line; without it the names of the classes are said.

    filter: 'none', 'random' or the name of a score. threshold: of 'proxy', the word error rate that is let through.
    keep: the share that another filter keeps; None is as many as 'proxy' does. labels: what the student is told a sound
    says, 'text' is what was to be said. kl: on which sounds the teacher's probabilities are matched: all that are kept,
    those where it agrees with the text, or none, for a teacher that gives no probabilities.
    """

    speakers: tuple[Speaker, ...] = pydantic.Field(default=("espeak-ng", "flite"), min_length=1)
    texts: str | None = None
    rooms: Rooms = Rooms()
    clips: int = pydantic.Field(default=2000, ge=8, le=1_000_000)  # ours; uDistil: 100,000 or 500,000 utterances
    clips_per_move: int = pydantic.Field(default=20, ge=1)  # ours
    filter: str = "proxy"
    threshold: float = pydantic.Field(default=0.0, ge=0)  # ours: a word is right or wrong; uDistil: 0.8
    keep: float | None = pydantic.Field(default=None, gt=0, le=1)  # uDistil: as many as the error rate leaves
    within_class: bool = True  # ours: without it confidence drops whole classes
    duration_bins: int = pydantic.Field(default=1, ge=1, le=100)  # ours
    labels: Literal["teacher", "text"] = "teacher"
    kl: Literal["all", "agreed", "none"] = "all"
    weights: Literal["paper", "released"] = "paper"
    steps: int = pydantic.Field(default=5000, ge=1)  # released: demo
    transfer: TransferSettings = TransferSettings(
        optimizer="adam", lr=1e-3, weight_decay=0.0, batch=64, temperature=2.0, schedule="cosine", clip=1.0
    )  # temperature, weight decay and clip: paper; the rest: ours

    @pydantic.field_validator("filter")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in ("none", "random", *SCORES):
            raise ValueError(f"filter is none, random or one of {', '.join(SCORES)}, got {name[:40]!r}")
        return name


class UDistil(Method):
    """Sounds are spoken and the teacher is asked, some at a time, each once; they are scored and sifted; the student
    learns from what is left."""

    Config: ClassVar[type] = UDistilConfig
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # Text labels, and the teacher where it agrees: what was best in our measurements.
        "text": {"labels": "text", "kl": "agreed", "filter": "none"},
        # Minutes on a CPU (ours).
        "small": {"clips": 1000, "steps": 400, "transfer": {"lr": 3e-3}},
    }
    config: UDistilConfig

    @classmethod
    def requires(cls, config: UDistilConfig) -> Requirements:
        asks = config.kl != "none" or config.filter in ("confidence", "entropy")
        access = Access.SCORES if asks else Access.LABELS
        return Requirements(access=access, inputs=frozenset({"waveform"}), outputs=frozenset({"classes"}))

    @classmethod
    def plan(cls, config: UDistilConfig, steps: int) -> dict[str, int]:
        return {"acquire": ceil_div(config.clips, config.clips_per_move), "transfer": steps}

    @classmethod
    def rehearsal(cls, config: UDistilConfig) -> UDistilConfig:
        return config.model_copy(update={"clips": max(8, min(config.clips, config.clips_per_move))})

    @classmethod
    def reads(cls, config: UDistilConfig) -> dict[Path, str]:
        spoken = {store(): "pool"} if any(name != "formants" for name in config.speakers) else {}
        return spoken if config.texts is None else spoken | {Path(config.texts): "texts"}

    @classmethod
    def runs(cls, config: UDistilConfig) -> dict[Path, str]:
        return programs((*config.speakers, "espeak-ng"))

    def __init__(self, config: UDistilConfig, context: Context) -> None:
        """Raises MethodError where a program that is to speak is missing, or there is no text to say."""
        super().__init__(config, context)
        kind = input_kind(context.task)
        assert isinstance(kind, Waveforms)
        require(config.speakers)
        self.kind = kind
        self.names = [context.task.name_of(label) for label in range(context.task.classes)]
        self.texts = self.names if config.texts is None else read_texts(Path(config.texts))
        self.class_of = {normalised(name): label for label, name in enumerate(self.names)}
        if config.labels == "text" and not any(normalised(text) in self.class_of for text in self.texts):
            raise MethodError("udistil: labels=text needs texts that name a class, and none does; give labels=teacher")
        self.pool = Pool(config.clips, kind)
        self.table = Slot(texts=[], voices=[])
        self.sifted = Slot(kept=torch.zeros(0, dtype=torch.int64), scores={})

    def next_move(self) -> str:
        return "acquire" if self.pool.added < self.config.clips else "transfer"

    # -- sounds and what the teacher hears in them

    def acquire(self) -> Losses:
        config, context = self.config, self.context
        count = min(config.clips_per_move, config.clips - self.pool.added)
        said = drawn(self.texts, config.speakers, context.streams("speech"), count)
        sounds = self.spoken(said)
        with torch.no_grad():
            answers = context.teacher(context.runtime.place(sounds)).value
        targets = torch.tensor([self.class_of.get(normalised(one.text), -1) for one in said])
        self.pool.add(sounds, targets, context.teacher.network.outputs.pack(answers))
        self.table["texts"] = [*self.table["texts"], *(one.text for one in said)]
        self.table["voices"] = [*self.table["voices"], *(f"{one.speaker} {one.voice}" for one in said)]
        context.counters.add("samples", count)
        if self.pool.added == config.clips:
            self.sift()
        return Losses()

    def spoken(self, said: Sequence[Utterance]) -> dict[str, Tensor]:
        """What a microphone hears of them, as it is stored."""
        rate, stream = self.kind.spec.rate, self.context.streams("rooms")
        packed = self.kind.read([speak(one, rate) for one in said])
        sounds = self.kind.unpack(packed)
        waveform = in_rooms(sounds["waveform"], sounds["length"], rate, self.config.rooms, stream)
        return self.kind.unpack(self.kind.pack(sounds | {"waveform": waveform}))

    def heard(self) -> Heard:
        """The table that scores read. A helper of the teacher, where it has one, is the second recogniser."""
        packed, logits = self.pool.packed(), self.pool.logits
        assert packed is not None
        assert not isinstance(packed, Tensor)
        assert logits is not None
        said, surprise, doubt = of_classes(logits, self.names)
        second = None
        if self.context.teacher.helpers:
            second = of_classes(self._second(packed), self.names)[0]
        rate = self.kind.spec.rate
        return Heard(packed["waveform"], packed["length"], rate, self.table["texts"], said, surprise, doubt, second)

    def _second(self, packed: Mapping[str, Tensor]) -> Tensor:
        helper, place = self.context.teacher.helpers[0], self.context.runtime.place
        with torch.no_grad():
            parts = [
                helper(place(self.kind.unpack({name: column[start : start + 64] for name, column in packed.items()})))
                for start in range(0, len(self.pool), 64)
            ]
        return torch.cat([part.value.cpu() for part in parts])

    def sift(self) -> None:
        """Scores every pseudo-label once, and keeps those that pass. Raises MethodError where none does."""
        config, heard = self.config, self.heard()
        # The scores that must render or fit something are taken where they are asked for.
        wanted = [name for name in SCORES if name not in ("synthesis", "similarity") or name == config.filter]
        scores = {name: SCORES[name](heard).float() for name in wanted}
        passed = below(scores["proxy"], config.threshold)
        share = len(passed) / len(heard) if config.keep is None else config.keep
        if config.filter == "proxy" and config.keep is None:
            kept = passed
        elif config.filter == "none":
            kept = torch.arange(len(heard))
        elif config.filter == "random":
            order = torch.randperm(len(heard), generator=self.context.streams("filter"))
            kept = order[: round(share * len(heard))].sort().values
        else:
            groups = groups_of(heard.said, heard.seconds, config.within_class, config.duration_bins)
            kept = best_share(scores[config.filter], share, groups)
        if config.labels == "text":
            assert self.pool.targets is not None
            kept = kept[self.pool.targets[kept] >= 0]
        if not len(kept):
            raise MethodError(
                f"udistil: no pseudo-label of {len(heard):,} passes the filter '{config.filter}': the teacher hears "
                "nothing of what was to be said. Raise threshold or keep, or take filter=none and labels=text"
            )
        self.sifted["kept"], self.sifted["scores"] = kept, scores

    # -- teaching

    def transfer_batch(self) -> Batch:
        context, kept, pool = self.context, self.sifted["kept"], self.pool
        ids = kept[torch.randint(len(kept), (self.config.transfer.batch,), generator=context.streams("pool"))]
        assert pool.inputs is not None
        assert pool.logits is not None
        assert pool.targets is not None
        assert not isinstance(pool.inputs, Tensor)
        place, outputs = context.runtime.place, context.teacher.network.outputs
        inputs = place(self.kind.unpack({name: column[ids] for name, column in pool.inputs.items()}))
        answers = outputs.unpack(place(pool.logits[ids]))
        heard, text = answers.argmax(1), place(pool.targets[ids])
        batch = context.teach(inputs, heard if self.config.labels == "teacher" else text, answers)
        batch.extras["matched"] = (heard == text).float() if self.config.kl == "agreed" else torch.ones(len(ids))
        return batch

    def student_loss(self, student: Forward, batch: Batch) -> Losses:
        losses, config = Losses(), self.config
        of_label, of_kl = WEIGHTS[config.weights]
        logits, answers, targets = student(batch.inputs).value, batch.answers().value, batch.targets
        matched = batch.extras["matched"]
        first = len(matched)
        assert targets is not None
        losses.add("label", of_label, lambda: cross_entropy(logits[:first], targets[:first]))
        if config.kl != "none":
            tau = config.transfer.temperature
            losses.add("kl", of_kl, lambda: matched.to(logits) * kl(logits[:first], answers[:first], tau))
        return losses

    # -- what is told of it

    def findings(self) -> list[Finding]:
        scores, kept = self.sifted["scores"], self.sifted["kept"]
        if not len(scores):
            return []
        heard = self.heard()
        wrong = torch.tensor([normalised(a) != normalised(b) for a, b in zip(heard.spoken, heard.said)])
        passed = set(kept.tolist())
        findings: list[Finding] = [
            Figure("kept", len(kept) / len(heard), "share", "pseudo-labels that passed the filter"),
            Figure("teacher_hears_text", 1 - float(wrong.float().mean()), "share",
                   "sounds in which the teacher hears what was to be said"),
        ]  # fmt: skip
        for name, score in scores.items():
            if name != "proxy" and (value := area(score, wrong)) is not None:
                meaning = "how well the score ranks what was heard wrong; 0.5: not at all"
                findings.append(Figure(f"auc_{name}", value, "number", meaning, "higher"))
        for title, groups in (("text", list(heard.spoken)), ("speaker", self.table["voices"])):
            named = [one.split()[0] if title == "speaker" else one for one in groups]
            findings.append(_kept_by(title, named, passed))
        return findings

    def state(self) -> Mapping[str, Stateful]:
        return {"pool": self.pool, "table": self.table, "sifted": self.sifted}


def _kept_by(title: str, groups: Sequence[str], kept: set[int]) -> Drawing:
    """The share that passed of each group, of the twenty largest: a filter that keeps the easy keeps some out."""
    sizes = Counter(groups)
    names = sorted(name for name, _ in sizes.most_common(20))
    passed = Counter(one for place, one in enumerate(groups) if place in kept)
    shares = [passed[name] / sizes[name] for name in names]
    return Drawing(f"kept_by_{title}", "bars", shares, f"share that passed the filter, by {title}", tuple(names))
