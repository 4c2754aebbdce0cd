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
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ... import columns
from ...arithmetic import ceil_div
from ...columns import Inputs
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
from ...synthesis.given_texts import given_lines
from ...synthesis.rooms import in_rooms
from ...synthesis.rounds import InRounds, Round, Schedule
from ...synthesis.voices import MAX_TEXT, Utterance, drawn, programs, require, speak, store
from .filters import area, below, best_share, groups_of
from .heard import Heard
from .labels import ClassLabels, Labeller, TextLabels
from .scores import SCORES
from .settings import WEIGHTS, UDistilConfig

DEAR = ("synthesis", "similarity")
"""Scores that must render or fit something: taken where they are asked for."""


class UDistil(InRounds):
    """Sounds are spoken and the teacher is asked, some at a time, each once; they are scored and sifted; the student
    learns from what is left."""

    Config: ClassVar[type] = UDistilConfig
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # What was to be said, and the teacher where it heard that (ours).
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
        self.texts = names if config.texts is None else given_lines(Path(config.texts), MAX_TEXT)
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
            without = "udistil: share_encoder needs a student with the teacher's encoder, such as layers:2 of it"
            if not (isinstance(own, nn.Module) and isinstance(theirs, nn.Module)):
                raise MethodError(without)
            try:
                own.load_state_dict(theirs.state_dict())
            except RuntimeError:
                raise MethodError(without) from None
            own.requires_grad_(False)
        return student

    # -- sounds and what the teacher hears in them

    def acquire(self) -> Losses:
        config, context, filled = self.config, self.context, self.pool.added
        count = min(config.clips_per_move, config.clips - filled if filled < config.clips else config.clips)
        utterances = drawn(self.texts, config.speakers, context.streams("speech"), count)
        sounds = self.spoken(utterances)
        with torch.no_grad():
            answers = context.teacher(context.runtime.place(sounds)).value
        labels = self.labels.heard(answers)
        kept = context.teacher.network.outputs.pack(answers) if self.labels.keeps else None
        self.pool.add(sounds, labels.targets, kept)
        self._note(filled, "texts", [one.text for one in utterances])
        self._note(filled, "voices", [f"{one.speaker} {one.voice}" for one in utterances])
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

    def spoken(self, utterances: Sequence[Utterance]) -> dict[str, Tensor]:
        """What a microphone hears of them, as it comes out of the pool."""
        rate, stream = self.kind.spec.rate, self.context.streams("rooms")
        sounds = self.kind.unpack(self.kind.read([speak(one, rate) for one in utterances]))
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
        texts: list[str] = []
        with torch.no_grad():
            for part in columns.split(packed, self.config.clips_per_move):
                texts += self.labels.heard(helper(place(self.kind.unpack(part))).value).said
        return texts

    def sift(self) -> None:
        """Scores every pseudo-label once, and keeps those that pass. Raises MethodError where none does."""
        config, sounds = self.config, self.heard()
        names = [name for name in SCORES if name not in DEAR or name == config.filter]
        scores = {name: SCORES[name](sounds).float() for name in names}
        passed = below(scores["proxy"], config.threshold)
        share = len(passed) / len(sounds) if config.keep is None else config.keep
        if config.filter == "proxy" and config.keep is None:
            kept = passed
        elif config.filter == "none":
            kept = torch.arange(len(sounds))
        elif config.filter == "random":
            order = torch.randperm(len(sounds), generator=self.context.streams("filter"))
            kept = order[: round(share * len(sounds))].sort().values
        else:
            by_text = config.within_class and self.labels.keeps
            groups = groups_of(sounds.said, sounds.seconds, by_text, config.duration_bins)
            kept = best_share(scores[config.filter], share, groups)
        if config.labels == "text":
            known = (self.labels.spoken(sounds.spoken).view(len(sounds), -1) != IGNORED).any(1)
            kept = kept[known[kept]]
        if not len(kept):
            raise MethodError(
                f"udistil: no pseudo-label of {len(sounds):,} passes the filter '{config.filter}': the teacher hears "
                "nothing of what was to be said. Raise threshold or keep, or take filter=none and labels=text"
            )
        agreed = [float(normalised(one) == normalised(two)) for one, two in zip(sounds.spoken, sounds.said)]
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
        logits = student(batch.inputs).value
        assert targets is not None
        counted = targets != IGNORED
        chances = F.cross_entropy(logits, targets, reduction="none", ignore_index=IGNORED)
        losses.add("label", of_label, lambda: per_token(chances, counted))
        if config.kl != "none":
            answers, tau = batch.answers().value, config.transfer.temperature
            losses.add("kl", of_kl, lambda: _matched(batch, logits) * per_token(kl(logits, answers, tau), counted))
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


def _matched(batch: Batch, logits: Tensor) -> Tensor:
    """(B,) 1 where the teacher's probabilities count; of older sounds that an update has joined behind, all."""
    matched = torch.ones(len(logits), dtype=logits.dtype, device=logits.device)
    own = batch.extras.get("matched")
    if own is not None:
        matched[: len(own)] = own.to(matched)
    return matched


def _kept_by(title: str, groups: Sequence[str], kept: set[int]) -> Drawing:
    """The share that passed of each group, of the twenty largest: a filter that keeps the easy keeps some out."""
    sizes = Counter(groups)
    names = sorted(name for name, _ in sizes.most_common(20))
    passed = Counter(one for place, one in enumerate(groups) if place in kept)
    shares = [passed[name] / sizes[name] for name in names]
    return Drawing(f"kept_by_{title}", "bars", shares, f"share that passed the filter, by {title}", tuple(names))
