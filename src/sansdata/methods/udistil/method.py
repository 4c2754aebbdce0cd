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
import torch.nn.functional as F
from torch import Tensor, nn

from ... import columns
from ...arithmetic import ceil_div
from ...columns import Inputs
from ...config import Strict
from ...contracts import Access, Batch, Forward, Losses, Requirements, Stateful
from ...errors import MethodError
from ...figures import Drawing, Figure, Finding
from ...kinds.index import input_kind
from ...kinds.inputs.waveform import Waveforms
from ...kinds.outputs.transcript import IGNORED, Transcripts
from ...memory import Pool, Slot
from ...method import Context
from ...objectives.edits import normalised
from ...objectives.logits import kl
from ...synthesis.rooms import Rooms, in_rooms
from ...synthesis.rounds import InRounds, Round, Schedule
from ...synthesis.voices import Speaker, Utterance, drawn, programs, require, speak, store
from ...training.transfer import TransferSettings
from .filters import area, below, best_share, groups_of
from .heard import Heard
from .labels import ClassLabels, Labeller, TextLabels
from .scores import SCORES
from .texts import read_texts

WEIGHTS = {"paper": (1.0, 0.8), "released": (0.8, 1.0)}
"""(of the pseudo-label, of KL): Distil-Whisper's section 4, and run_distillation.py of huggingface/distil-whisper,
where they are swapped."""

DEAR = ("synthesis", "similarity")


class UDistilConfig(Strict):
    """speakers: who says the texts. texts: a file with one on each line; without it the names of the classes are said.
    more_every: student steps behind which clips_per_move sounds are spoken anew, in the place of the oldest.

    filter: 'none', 'random' or the name of a score. threshold: of 'proxy', the word error rate that is let through.
    keep: the share that another filter keeps; None is as many as 'proxy' does. labels: what the student is told a sound
    says, 'text' is what was to be said. kl: on which sounds the teacher's probabilities are matched: all that are kept,
    those where it agrees with the text, or none, for a teacher that gives no probabilities. share_encoder: of a
    recogniser, the student keeps the teacher's encoder, which hears each sound once for both.
    """

    speakers: tuple[Speaker, ...] = pydantic.Field(default=("espeak-ng", "flite"), min_length=1)
    texts: str | None = None
    rooms: Rooms = Rooms()
    clips: int = pydantic.Field(default=2000, ge=8, le=1_000_000)  # ours; uDistil: 100,000 or 500,000 utterances
    clips_per_move: int = pydantic.Field(default=20, ge=1)  # ours
    more_every: int = pydantic.Field(default=5000, ge=1)  # ours
    filter: str = "proxy"
    threshold: float = pydantic.Field(default=0.0, ge=0)  # ours: a word is right or wrong; uDistil: 0.8
    keep: float | None = pydantic.Field(default=None, gt=0, le=1)  # uDistil: as many as the error rate leaves
    within_class: bool = True  # ours: without it confidence drops whole classes
    duration_bins: int = pydantic.Field(default=1, ge=1, le=100)  # ours
    labels: Literal["teacher", "text"] = "teacher"
    kl: Literal["all", "agreed", "none"] = "all"
    weights: Literal["paper", "released"] = "paper"
    share_encoder: bool = False  # both papers, where the student keeps the whole encoder
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


class UDistil(InRounds):
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
        access = Access.WEIGHTS if config.share_encoder else Access.SCORES if asks else Access.LABELS
        outputs = frozenset({"transcript"}) if config.share_encoder else frozenset({"classes", "transcript"})
        return Requirements(access=access, inputs=frozenset({"waveform"}), outputs=outputs)

    @classmethod
    def round_of(cls, config: UDistilConfig) -> Round:
        return Round(config.more_every, warmup=ceil_div(config.clips, config.clips_per_move) - 1)

    @classmethod
    def rehearsal(cls, config: UDistilConfig) -> UDistilConfig:
        few = max(8, min(config.clips, config.clips_per_move))
        return config.model_copy(update={"clips": few, "clips_per_move": few, "more_every": 4})

    @classmethod
    def reads(cls, config: UDistilConfig) -> dict[Path, str]:
        spoken = {store(): "pool"} if any(name != "formants" for name in config.speakers) else {}
        return spoken if config.texts is None else spoken | {Path(config.texts): "texts"}

    @classmethod
    def runs(cls, config: UDistilConfig) -> dict[Path, str]:
        again = ("espeak-ng",) if config.filter == "synthesis" else ()
        return programs((*config.speakers, *again))

    def __init__(self, config: UDistilConfig, context: Context) -> None:
        """Raises MethodError where a program that is to speak is missing, there is no text to say, or the student's
        encoder is not the teacher's."""
        super().__init__(config, context)
        kind, outputs = input_kind(context.task), context.network.outputs
        assert isinstance(kind, Waveforms)
        require(config.speakers)
        self.kind = kind
        self.labels: Labeller
        if isinstance(outputs, Transcripts):
            self.labels, names = TextLabels(outputs), []
            if config.texts is None:
                raise MethodError("udistil: what is to be said? Give texts=FILE, a text on each line")
        else:
            names = [context.task.name_of(label) for label in range(context.task.classes)]
            self.labels = ClassLabels(names)
        self.texts = names if config.texts is None else read_texts(Path(config.texts))
        if config.labels == "text" and bool((self.labels.spoken(self.texts) == IGNORED).all()):
            raise MethodError("udistil: labels=text needs texts that name a class, and none does; give labels=teacher")
        self.pool = Pool(config.clips, kind)
        self.table = Slot(texts=[], voices=[], said=[], surprise=[], doubt=[])
        self.sifted = Slot(kept=torch.zeros(0, dtype=torch.int64), agreed=torch.zeros(0), scores={})
        self.schedule = Schedule(self.round_of(config), acquired=0)

    def build_student(self, student: nn.Module) -> nn.Module:
        """With share_encoder the student's encoder is the teacher's, and stays so."""
        if self.config.share_encoder:
            own, theirs = getattr(student, "encoder", None), getattr(self.context.teacher.module, "encoder", None)
            try:
                assert isinstance(own, nn.Module)
                assert isinstance(theirs, nn.Module)
                own.load_state_dict(theirs.state_dict())
            except (AssertionError, RuntimeError):
                raise MethodError(
                    "udistil: share_encoder needs a student with the teacher's encoder, such as layers:2 of it"
                ) from None
            own.requires_grad_(False)
        return student

    # -- sounds and what the teacher hears in them

    def acquire(self) -> Losses:
        config, context, filled = self.config, self.context, self.pool.added
        count = min(config.clips_per_move, config.clips - filled if filled < config.clips else config.clips)
        said = drawn(self.texts, config.speakers, context.streams("speech"), count)
        sounds = self.spoken(said)
        with torch.no_grad():
            answers = context.teacher(context.runtime.place(sounds)).value
        labels = self.labels.heard(answers)
        kept = context.teacher.network.outputs.pack(answers) if self.labels.keeps else None
        self.pool.add(sounds, labels.targets, kept)
        self._note(filled, "texts", [one.text for one in said])
        self._note(filled, "voices", [f"{one.speaker} {one.voice}" for one in said])
        self._note(filled, "said", labels.said)
        self._note(filled, "surprise", labels.surprise.tolist())
        self._note(filled, "doubt", labels.doubt.tolist())
        context.counters.add("samples", count)
        self.schedule["acquired"] += 1
        if self.pool.added >= config.clips:
            self.sift()
            self.schedule.begin_steps()
        return Losses()

    def _note(self, first: int, name: str, values: Sequence[Any]) -> None:
        """Of the sounds from number `first` on, at the places that they have in the pool."""
        rows = list(self.table[name])
        for number, value in enumerate(values, first):
            place = number % self.config.clips
            rows[place : place + 1] = [value]
        self.table[name] = rows

    def spoken(self, said: Sequence[Utterance]) -> dict[str, Tensor]:
        """What a microphone hears of them, as it comes out of the pool."""
        rate, stream = self.kind.spec.rate, self.context.streams("rooms")
        sounds = self.kind.unpack(self.kind.read([speak(one, rate) for one in said]))
        waveform = in_rooms(sounds["waveform"], sounds["length"], rate, self.config.rooms, stream)
        return self.kind.unpack(self.kind.pack(sounds | {"waveform": waveform}))

    def heard(self) -> Heard:
        """The table that scores read. A helper of the teacher, where it has one, is the second recogniser."""
        packed, table = self.pool.packed(), self.table
        assert packed is not None
        assert not isinstance(packed, Tensor)
        second = self._second(packed) if self.context.teacher.helpers else None
        return Heard(
            packed["waveform"], packed["length"], self.kind.spec.rate, table["texts"], table["said"],
            torch.tensor(table["surprise"]), torch.tensor(table["doubt"]), second,
        )  # fmt: skip

    def _second(self, packed: Mapping[str, Tensor]) -> list[str]:
        helper, place = self.context.teacher.helpers[0], self.context.runtime.place
        said: list[str] = []
        with torch.no_grad():
            for part in columns.split(packed, self.config.clips_per_move):
                said += self.labels.heard(helper(place(self.kind.unpack(part))).value).said
        return said

    def sift(self) -> None:
        """Scores every pseudo-label once, and keeps those that pass. Raises MethodError where none does."""
        config, heard = self.config, self.heard()
        # The scores that must render or fit something are taken where they are asked for.
        wanted = [name for name in SCORES if name not in DEAR or name == config.filter]
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
            by_text = config.within_class and self.labels.keeps
            groups = groups_of(heard.said, heard.seconds, by_text, config.duration_bins)
            kept = best_share(scores[config.filter], share, groups)
        if config.labels == "text":
            known = (self.labels.spoken(heard.spoken).view(len(heard), -1) != IGNORED).any(1)
            kept = kept[known[kept]]
        if not len(kept):
            raise MethodError(
                f"udistil: no pseudo-label of {len(heard):,} passes the filter '{config.filter}': the teacher hears "
                "nothing of what was to be said. Raise threshold or keep, or take filter=none and labels=text"
            )
        agreed = [float(normalised(one) == normalised(two)) for one, two in zip(heard.spoken, heard.said)]
        self.sifted["kept"], self.sifted["agreed"], self.sifted["scores"] = kept, torch.tensor(agreed), scores

    # -- teaching

    def transfer_batch(self) -> Batch:
        self.schedule.end_step()
        context, config, pool = self.context, self.config, self.pool
        kept = self.sifted["kept"]
        ids = kept[torch.randint(len(kept), (config.transfer.batch,), generator=context.streams("pool"))]
        assert pool.inputs is not None
        assert pool.targets is not None
        place, outputs = context.runtime.place, context.teacher.network.outputs
        sounds = place(self.kind.unpack(columns.take(pool.inputs, ids)))
        targets = pool.targets[ids]
        if config.labels == "text":
            targets = self.labels.spoken([self.table["texts"][number] for number in ids.tolist()])
        targets = place(targets)
        inputs: Inputs = {**sounds, **self.labels.forced(targets)}
        if config.share_encoder:
            inputs = self.encoded(inputs)
        answers = None if pool.logits is None else outputs.unpack(place(pool.logits[ids]))
        batch = Batch(inputs, targets) if config.kl == "none" else context.teach(inputs, targets, answers)
        batch.extras["matched"] = self.sifted["agreed"][ids] if config.kl == "agreed" else torch.ones(len(ids))
        return batch

    def encoded(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """With what the encoder that both share has heard: one pass serves two decoders."""
        teacher = self.context.teacher
        prepared = teacher.network.preprocessor(inputs)
        assert not isinstance(prepared, Tensor)
        encoder: Any = teacher.module.encoder
        with torch.no_grad(), self.context.runtime.autocast():
            return {**inputs, "states": encoder(prepared["bands"])}

    def student_loss(self, student: Forward, batch: Batch) -> Losses:
        losses, config, targets = Losses(), self.config, batch.targets
        of_label, of_kl = WEIGHTS[config.weights]
        logits, matched = student(batch.inputs).value, batch.extras["matched"]
        first = len(matched)
        assert targets is not None
        counted = targets[:first] != IGNORED
        chances = F.cross_entropy(logits[:first], targets[:first], reduction="none", ignore_index=IGNORED)
        losses.add("label", of_label, lambda: per_token(chances, counted))
        if config.kl != "none":
            answers, tau = batch.answers().value[:first], config.transfer.temperature
            losses.add("kl", of_kl, lambda: matched.to(logits) * per_token(kl(logits[:first], answers, tau), counted))
        return losses

    # -- what is told of it

    def findings(self) -> list[Finding]:
        scores, kept = self.sifted["scores"], self.sifted["kept"]
        if not len(scores):
            return []
        wrong = self.sifted["agreed"] == 0
        passed = set(kept.tolist())
        findings: list[Finding] = [
            Figure("kept", len(kept) / len(wrong), "share", "pseudo-labels that passed the filter"),
            Figure("teacher_hears_text", 1 - float(wrong.float().mean()), "share",
                   "sounds in which the teacher hears what was to be said"),
        ]  # fmt: skip
        for name, score in scores.items():
            if name != "proxy" and (value := area(score, wrong)) is not None:
                meaning = "how well the score ranks what was heard wrong; 0.5: not at all"
                findings.append(Figure(f"auc_{name}", value, "number", meaning, "higher"))
        for title, groups in (("text", self.table["texts"]), ("speaker", self.table["voices"])):
            named = [one.split()[0] if title == "speaker" else one for one in groups]
            findings.append(_kept_by(title, named, passed))
        return findings

    def state(self) -> Mapping[str, Stateful]:
        return {"pool": self.pool, "table": self.table, "sifted": self.sifted, "schedule": self.schedule}


def per_token(values: Tensor, counted: Tensor) -> Tensor:
    """(B,) whose mean is that of values (B,) or (B, L) over all tokens that are counted: a long text weighs more."""
    total = counted.sum().clamp_min(1)
    return (values * counted).view(len(values), -1).sum(1) * len(values) / total


def _kept_by(title: str, groups: Sequence[str], kept: set[int]) -> Drawing:
    """The share that passed of each group, of the twenty largest: a filter that keeps the easy keeps some out."""
    sizes = Counter(groups)
    names = sorted(name for name, _ in sizes.most_common(20))
    passed = Counter(one for place, one in enumerate(groups) if place in kept)
    shares = [passed[name] / sizes[name] for name in names]
    return Drawing(f"kept_by_{title}", "bars", shares, f"share that passed the filter, by {title}", tuple(names))
