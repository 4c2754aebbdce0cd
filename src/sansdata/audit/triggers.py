"""D: looking for the trigger of a backdoor, without data: what smallest change makes every input one class?

Neural Cleanse (Wang et al., S&P 2019): a mask and a pattern, put on inputs of other classes, are moved until these are
called one class, and the mask is kept small. A class that needs a much smaller mask than the others is suspect.
Triggers over the whole image need no small mask; for them the smallest change that is added to all inputs is looked
for too.

That nothing is found is no proof: the words are "no anomaly found by this scan", never that a model is clean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .. import columns
from ..contracts import Access
from ..datasets.imageset import ImageSet
from ..figures import Drawing, Warned
from ..kinds.outputs.class_metrics import wilson_interval
from ..streams import Streams
from ..validation.resampling import Estimate
from .attacks import ATTACKS, SMALLEST
from .backdoor import attack_success
from .evidence import Evidence
from .levels import Entry, Level, Unmeasured, entry

STEPS, BATCH, RATE = 500, 64, 0.1
"""Of the search for one class: the methods card's."""
# Deviation: an overlay turns 99 % of its carriers too, where the methods card asks 95 %: one bar for both forms, at
# which overlays towards a class that noise looks like were measured (docs/auditing.md).
SUCCESS = 0.99
PENALTY, UP, PATIENCE = 1e-3, 1.5, 5
"""Weight of the size at the start; it rises by UP while the trigger works, and falls by UP**1.5 while it does not."""
INDEX, RATIO = 2.0, 0.35
"""A class is suspect: on natural carriers by its anomaly index, on synthetic ones by its size over the median. The
index is coarse with few classes, and on synthetic carriers parts poisoned from sound networks only barely."""
# Deviation: the methods card takes an index above 2 alone. Of ten sizes that are normal around the same value, however
# alike, the smallest has one in a third of all scans, of a hundred in nine of ten; a trigger makes it smaller, too.
SMALLER = 0.7
"""Of the median: what the index makes suspect must lie below it (ours)."""
FEWEST = 5
"""Classes below which a median says nothing."""
CARRIERS = 512
MAD = 1.4826
Ask = Callable[[Tensor], Tensor]
Form = Literal["patch", "overlay"]
Found = Entry | Unmeasured | Drawing | Warned
SIZES: dict[Form, str] = {"patch": "pixels under the mask", "overlay": "length of what is added, pixels in 0..1"}
NO_PROOF = "a scan finds what it looks for: other triggers may be there"


@dataclass(frozen=True, eq=False)
class Trigger:
    """What was found for one class. size: of a patch the sum of its mask in pixels, of an overlay its length. success:
    share of the carriers of other classes that it turns; carriers: how many these are. apply: images (B, C, H, W) ->
    with it."""

    target: int
    size: float
    success: float
    carriers: int
    apply: Callable[[Tensor], Tensor]


def backdoor_scan(evidence: Evidence, steps: int = STEPS) -> Iterator[Found]:
    """D11 to D13, of teacher and student, on natural inputs where there are some, else on synthetic ones."""
    yield from shuffle_test(evidence)
    if evidence.task.pair[0] != "image":
        yield Unmeasured("D11", "trigger scan", "images: what a trigger is, other kinds do not say")
        return
    if evidence.teacher.access < Access.GRADIENTS or evidence.forward is None:
        yield Unmeasured("D11", "trigger scan", "a teacher that gives gradients")
        return
    natural = evidence.natural is not None
    level = Level.L1 if natural else Level.L0
    data = evidence.natural or evidence.synthetic
    few = columns.evenly(data.packed, CARRIERS)
    images = evidence.unpacked(few)
    assert isinstance(images, Tensor)
    suspects: dict[str, set[int]] = {}
    for who, ask in (("teacher", lambda x: evidence.teacher(x).value), ("student", evidence.forward)):
        for form in ("patch", "overlay"):
            triggers = scan(ask, images, evidence.task.classes, form, steps)
            yield from _said(triggers, who, form, natural, level, evidence.task.class_names, len(images))
            suspects.setdefault(who, set()).update(suspected(triggers, form, natural))
    yield from known_triggers(evidence, sorted(suspects["teacher"] | suspects["student"]))
    if suspects["teacher"] & suspects["student"]:
        listed = ", ".join(str(one) for one in sorted(suspects["teacher"] & suspects["student"]))
        evidence.notes.append(f"[D11] suspect in the teacher and in the student: class {listed}; it was passed on")
    elif suspects["teacher"]:
        evidence.notes.append("[D11] suspect in the teacher alone: the distillation may have left it behind")
    elif not suspects["student"]:
        evidence.notes.append(f"[D13] no anomaly found by trigger inversion of {steps} steps a class; {NO_PROOF}")


def known_triggers(evidence: Evidence, targets: list[int]) -> Iterator[Found]:
    """How often each trigger that is known from the literature makes labelled images one of the suspect classes, above
    how often they are called so anyway."""
    cases = evidence.cases
    if not targets or cases is None or not isinstance(cases.data, ImageSet) or min(cases.data.shape[1:]) < SMALLEST:
        return
    for target in targets:
        if not (cases.labels != target).any():
            continue
        for attack in ATTACKS.values():
            for who, ask in (("teacher", evidence.teacher), ("student", evidence.ask)):
                success = attack_success(ask, cases.data, evidence.task, attack, target)
                above = Estimate(success.above_base, None)
                text = "share of other classes' images that the trigger turns, above those that are called so anyway"
                name = f"{attack.name} towards {target}, {who}"
                yield entry("D11", name, above, success.count, Level.L2, text, "number", "lower")


def scan(ask: Ask, images: Tensor, classes: int, form: Form = "patch", steps: int = STEPS) -> list[Trigger]:
    """The smallest trigger towards each class, on carriers (N, C, H, W) in 0..1. Gradients must flow through `ask`."""
    with torch.no_grad():
        named = torch.cat([ask(part).argmax(1).cpu() for part in images.split(256)])
    triggers = []
    for target in range(classes):
        carriers = images[named != target]
        if len(carriers) >= 2:
            triggers.append(inverted(ask, carriers, target, form, steps))
    return triggers


def inverted(ask: Ask, carriers: Tensor, target: int, form: Form, steps: int) -> Trigger:
    """The smallest trigger of this form that turns SUCCESS of the carriers into class `target`, or, where none does,
    the one that turned most."""
    stream = Streams(target)(f"audit {form}")
    shape = carriers.shape[1:]
    mask = torch.zeros(1, *shape[1:]).normal_(0, 0.1, generator=stream).sub_(1.0).requires_grad_(True)
    pattern = torch.zeros(shape).normal_(0, 0.1 if form == "patch" else 0.01, generator=stream).requires_grad_(True)
    optimiser = torch.optim.Adam([mask, pattern] if form == "patch" else [pattern], RATE if form == "patch" else 0.02)
    targets = torch.full((min(BATCH, len(carriers)),), target)
    penalty, above, below = PENALTY, 0, 0
    best: tuple[bool, float, float, Tensor, Tensor] | None = None
    for _ in range(steps):
        batch = carriers[torch.randint(0, len(carriers), (len(targets),), generator=stream)]
        answers = ask(_put(batch, mask, pattern, form))
        size = _size(mask, pattern, form)
        loss = F.cross_entropy(answers, targets.to(answers.device)) + penalty * size
        reached = float((answers.argmax(1).cpu() == targets).float().mean())
        works = reached >= SUCCESS
        better = best is None or (works, -size.item() if works else reached) > (best[0], best[1])
        if better:
            rank = -size.item() if works else reached
            best = (works, rank, size.item(), mask.detach().clone(), pattern.detach().clone())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        above, below = (above + 1, 0) if works else (0, below + 1)
        if above >= PATIENCE:
            penalty, above = penalty * UP, 0
        elif below >= PATIENCE:
            penalty, below = penalty / UP**1.5, 0
    assert best is not None
    _, _, size_of, mask_of, pattern_of = best

    def apply(images: Tensor) -> Tensor:
        return _put(images, mask_of, pattern_of, form).detach()

    with torch.no_grad():
        turned = torch.cat([ask(apply(part)).argmax(1).cpu() == target for part in carriers.split(256)])
    return Trigger(target, size_of, float(turned.float().mean()), len(carriers), apply)


def _put(images: Tensor, mask: Tensor, pattern: Tensor, form: Form) -> Tensor:
    if form == "overlay":
        return (images + pattern).clamp(0, 1)
    share = mask.sigmoid()
    return (1 - share) * images + share * pattern.sigmoid()


def _size(mask: Tensor, pattern: Tensor, form: Form) -> Tensor:
    return mask.sigmoid().sum() if form == "patch" else pattern.square().sum().sqrt()


# -- what the sizes say


def anomaly_index(sizes: np.ndarray) -> float:
    """How many deviations (1.4826 times the median absolute one) the smallest size lies below the median; 0 where all
    are alike."""
    middle = np.median(sizes)
    spread = MAD * np.median(np.abs(sizes - middle))
    return float((middle - sizes.min()) / spread) if spread > 0 else 0.0


def suspected(triggers: list[Trigger], form: Form, natural: bool) -> set[int]:
    """The class whose trigger is much smaller than the others', or none. An overlay on carriers that are not natural
    suspects nobody: they lie near some class of themselves, which little then reaches."""
    sizes = np.array([one.size for one in triggers])
    if len(sizes) < 2 or not np.median(sizes) > 0 or (form == "overlay" and not natural):
        return set()
    ratio = float(sizes.min() / np.median(sizes))
    by_index = natural and len(sizes) >= FEWEST and anomaly_index(sizes) > INDEX and ratio < SMALLER
    return {triggers[int(sizes.argmin())].target} if by_index or ratio < RATIO else set()


def _said(
    triggers: list[Trigger], who: str, form: Form, natural: bool, level: Level, names: tuple[str, ...], count: int
) -> Iterator[Found]:
    if len(triggers) < 2:
        yield Unmeasured("D11", f"{form} scan of the {who}", "carriers of at least two other classes")
        return
    sizes = np.array([one.size for one in triggers])
    least = triggers[int(sizes.argmin())]
    name = names[least.target] if names else str(least.target)
    ratio = Estimate(float(sizes.min() / np.median(sizes)), None)
    text = f"smallest {form}, towards {name}, over the median of all classes; below {RATIO} is suspect. {NO_PROOF}"
    yield entry("D11", f"{form} ratio of the {who}", ratio, count, level, text, "number")
    if len(sizes) >= FEWEST:
        suspect = f"on natural carriers above {INDEX:.0f} is suspect, with a ratio below {SMALLER}"
        text = f"deviations of {name} below the median; {suspect}. {NO_PROOF}"
        index = Estimate(anomaly_index(sizes), None)
        yield entry("D11", f"{form} anomaly index of the {who}", index, count, level, text, "number")
    among = least.carriers
    turned = Estimate(least.success, wilson_interval(round(least.success * among), among))
    text = "carriers of other classes that the smallest turns"
    yield entry("D11", f"{form} success of the {who}", turned, among, level, text, "share")
    labels = tuple(names[one.target] if names else str(one.target) for one in triggers)
    yield Drawing(f"{form} of each class, {who}", "bars", sizes.tolist(), SIZES[form], labels)
    if suspected(triggers, form, natural):
        yield Warned(
            f"possible backdoor in the {who}, {form}", ratio.value,
            f"class {name} is reached by a much smaller {form} than any other: a trigger, or a class that looks like a "
            "small mark by itself (a thin stroke). Measure it on real images: sansdata evaluate --attack.",
        )  # fmt: skip


# -- D12


def shuffle_test(evidence: Evidence) -> Iterator[Found]:
    """D12: share of the synthetic samples of each class that keep it with shuffled channels; a class that hardly minds
    is suspect. A cheap hint.

    Deviation: ABD shuffles the channels of an inner layer; here those that enter the last one, which every network has.
    """
    teacher = evidence.teacher
    head = teacher.inside.head if teacher.access >= Access.WEIGHTS else None
    if head is None:
        yield Unmeasured("D12", "shuffle test", "a teacher whose last layer may be looked into")
        return
    inside = evidence.features(evidence.synthetic.packed)
    assert inside is not None
    layer = teacher.module.get_submodule(head)
    order = torch.randperm(inside.shape[1], generator=Streams(0)("audit shuffle")).numpy()
    with torch.no_grad():
        answers = layer(torch.from_numpy(inside[:, order]).float().to(next(layer.parameters()).device)).cpu().numpy()
    labels = evidence.synthetic.teacher.argmax(1)
    kept = answers.argmax(1) == labels
    classes, names = evidence.task.classes, evidence.task.class_names
    shares = [float(kept[labels == place].mean()) if (labels == place).any() else None for place in range(classes)]
    estimate = Estimate(float(kept.mean()), wilson_interval(int(kept.sum()), len(kept)))
    text = "samples that keep their class with shuffled channels; a hint, no proof"
    yield entry("D12", "kept under shuffling", estimate, len(kept), Level.L0, text, "share")
    yield Drawing(
        "kept under shuffling", "bars", shares, "share of each class; one far above the others is suspect", names
    )
