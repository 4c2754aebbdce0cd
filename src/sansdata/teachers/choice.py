"""Which tensors of a file are the network: found from the names and shapes that the network itself has.

A training checkpoint holds more than one set of weights: those of the last step and their moving average, a student
and its teacher, a generator and a discriminator. Each set has a key, the dotted path to it (`state_dict_ema`,
`model.state_dict`), to which a common prefix of the names belongs where sets share one dict (`student`, `teacher`). Of
the sets that are the network, a moving average comes before what it averages; any other choice is the user's, who
writes the key behind the file: ARCH@FILE#KEY.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from ..errors import TeacherError
from ..models.dialects import DIALECTS, renamed

COUNTERS = ("num_batches_tracked", "total_ops", "total_params", "n_averaged")
"""Endings of names that count something and change no answer; a file may have them or not."""
WRAPPINGS = ("module", "model", "net", "network", "backbone", "encoder", "_orig_mod")
"""Parts of a prefix that say nothing of which network it is."""
AVERAGES = frozenset(("ema", "shadow", "averaged", "average", "avg"))
"""Words of a key that name a moving average of weights."""
WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
ROOT = "."
"""The key of what lies in the file itself, without a name."""
FEW, ENOUGH = 8, 4
"""What has fewer tensors than so many and than one in so many of the network's parameters is no set of its own."""
DEEPEST = 8
"""Most parts of a prefix."""
SHOWN, LONGEST = 12, 80


@dataclass(frozen=True)
class Choice:
    """The network's tensors under its own names, and what to say of how they were chosen."""

    tensors: dict[str, Tensor]
    notes: list[str]


@dataclass(frozen=True)
class Candidate:
    """A set of weights in the file. key: where it lies, '' for the file itself; prefix: what stands before each of its
    names there; names: name in the network -> name in the file; dialect: whose names these are, where not ours."""

    key: str
    prefix: str
    names: Mapping[str, str]
    state: Mapping[str, Tensor]
    fits: int
    """How many of the network's tensors it has, by name and shape."""
    complete: bool
    """Whether these are all of them, and nothing else."""
    parameters_only: bool = False
    """Whether the parameters are complete and nothing but buffers is missing."""
    dialect: str = ""

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        return {name: self.state[origin] for name, origin in self.names.items()}

    @property
    def weights(self) -> set[str]:
        """The names but those of counters."""
        return {name for name in self.names if not name.endswith(COUNTERS)}

    @property
    def address(self) -> str:
        """What a user writes behind the '#'."""
        own = ".".join(part for part in self.prefix.split(".") if part and part not in WRAPPINGS)
        return ".".join(part for part in (self.key, own) if part) or self.prefix.rstrip(".") or ROOT

    @property
    def is_average(self) -> bool:
        return any(word.lower() in AVERAGES for word in WORD.findall(f"{self.key}.{self.prefix}"))

    @property
    def shown(self) -> str:
        """The address in a message."""
        return self.address if len(self.address) <= LONGEST else self.address[: LONGEST - 3] + "..."

    def answers_to(self, key: str) -> bool:
        """Whether a user who wrote `key` means this one: its address or the whole path, or the end of either."""
        paths = (self.address, self.key, f"{self.key}.{self.prefix}".strip("."))
        return any(path == key or path.endswith("." + key) for path in paths if path)


def choose(states: Mapping[str, Mapping[str, Tensor]], module: nn.Module, key: str, name: str, file: str) -> Choice:
    """The tensors of `module` out of the state dicts of `file`. key: what the user wrote behind the '#', or ''.

    name: the network's, as a user writes it. Where no set fits, the nearest is given back for `fill` to say why. Raises
    TeacherError where the key names none, and where several fit and none is an average of the other.
    """
    candidates = candidates_of(states, module)
    meant = [one for one in candidates if not key or one.answers_to(key)]
    if not meant and key.lower() == "ema":
        meant = [one for one in candidates if one.is_average and one.fits]
    if not meant and (near := [one for one in candidates if one.fits]):
        raise TeacherError(f"{file}: has no weights under '{key}'. {_listing(near, module, name, file)}")
    meant = meant or candidates  # of another network: that is said first
    usable = _distinct([one for one in meant if one.complete or (one.is_average and one.parameters_only)])
    if not usable:
        nearest = max(meant, key=lambda one: (one.fits, len(one.names)))
        return Choice(nearest.tensors, _notes(nearest, [], name, file, candidates))
    averages = [one for one in usable if one.is_average]
    rest = [one for one in usable if not one.is_average]
    if len(usable) > 1 and not (len(averages) == 1 and len(rest) == 1):
        raise TeacherError(
            f"{file}: holds {len(usable)} sets of weights that fit '{name}'. {_listing(usable, module, name, file)}"
        )
    chosen = (averages or rest)[0]
    raw = _distinct([one for one in candidates if one.complete and not one.is_average and one is not chosen])
    tensors = chosen.tensors
    if not chosen.complete and len(raw) == 1:
        tensors = raw[0].tensors | tensors
    return Choice(tensors, _notes(chosen, raw, name, file, candidates))


def fits(states: Mapping[str, Mapping[str, Tensor]], module: nn.Module) -> bool:
    """Whether one set of the file is this network, but for the shapes of a head."""
    names = {name for name in module.state_dict() if not name.endswith(COUNTERS)}
    return any(one.weights == names and len(names) - one.fits <= 2 for one in candidates_of(states, module))


def candidates_of(states: Mapping[str, Mapping[str, Tensor]], module: nn.Module) -> list[Candidate]:
    """Every set of weights in the file that could be the network, the best fit of each first found; at least one."""
    own = {name: value.shape for name, value in module.state_dict().items() if isinstance(value, Tensor)}
    parameters = [name for name, _ in module.named_parameters()]
    listed: list[Candidate] = []
    for key, state in states.items():
        placed: set[str] = set()
        for prefix, names in _prefixes(list(state), len(parameters)):
            if left := {name[len(prefix) :]: name for name in names if name not in placed}:
                candidate = _candidate(key, prefix, left, state, own, parameters)
                listed.append(candidate)
                placed |= set(left.values()) if candidate.complete or candidate.parameters_only else set()
    return _without_shells(listed) or [Candidate("", "", {}, {}, 0, False)]


def _candidate(
    key: str,
    prefix: str,
    names: dict[str, str],
    state: Mapping[str, Tensor],
    own: Mapping[str, torch.Size],
    parameters: list[str],
) -> Candidate:
    """The names as they are, or in the dialect that fits better."""
    best = None
    needed = len([name for name in own if not name.endswith(COUNTERS)])
    for origin, spoken in _spoken(names, parameters, len(own)):
        used = {name: there for name, there in spoken.items() if name in own or not name.endswith(COUNTERS)}
        weights = [name for name in used if not name.endswith(COUNTERS)]
        count = sum(name in own and state[used[name]].shape == own[name] for name in weights)
        if best is None or count > best.fits:
            known = count == len(weights) > 0
            covered = known and spoken.keys() >= set(parameters)
            best = Candidate(key, prefix, used, state, count, known and count == needed, covered, origin)
        if best.complete:
            break
    assert best is not None  # the names as they are come first
    return best


def _spoken(names: dict[str, str], parameters: list[str], most: int) -> Iterable[tuple[str, dict[str, str]]]:
    """(dialect or '', the names in it). most: tensors of the network, buffers too."""
    yield "", names
    if len(names) == len(parameters) and all(name.isdigit() for name in names):
        yield "a list in the order of its parameters", dict(zip(parameters, names.values()))
    if not len(parameters) <= 2 * len(names) <= 4 * most:  # too few or too many for it, in whatever words
        return
    for dialect in DIALECTS:
        if (other := renamed(dialect, names)) is not None and other.keys() != names.keys():
            yield f"those of {dialect.origin}", other


def _prefixes(names: list[str], least: int) -> list[tuple[str, list[str]]]:
    """Beginnings, up to a dot, that enough names share to be much of a network with `least` parameters, each with these
    names; the longest first, and last the empty one, where what has gone into others is left out."""
    sharing: dict[str, list[str]] = {}
    for name in names:
        parts = name.split(".", DEEPEST)
        for length in range(1, len(parts)):
            sharing.setdefault(".".join(parts[:length]) + ".", []).append(name)
    enough = min(least, max(FEW, least // ENOUGH), len(names))
    shared = [(prefix, sharers) for prefix, sharers in sharing.items() if len(sharers) >= enough]
    return [*sorted(shared, key=lambda one: len(one[0]), reverse=True), ("", names)]


def _without_shells(listed: list[Candidate]) -> list[Candidate]:
    """Without those of the same names in the file that fit less: each set once, under its best prefix."""
    best: dict[tuple[str, frozenset[str]], Candidate] = {}
    for one in listed:
        place = (one.key, frozenset(one.names.values()))
        if place not in best or one.fits > best[place].fits:
            best[place] = one
    return list(best.values())


def _distinct(candidates: list[Candidate]) -> list[Candidate]:
    """Without those that hold the same values as one before."""
    kept: list[Candidate] = []
    for one in candidates:
        if not any(
            one.is_average == other.is_average
            and one.names.keys() == other.names.keys()
            and all(torch.equal(value, other.tensors[name]) for name, value in one.tensors.items())
            for other in kept
        ):
            kept.append(one)
    return kept


# -- what is said


def _notes(chosen: Candidate, raw: list[Candidate], name: str, file: str, candidates: list[Candidate]) -> list[str]:
    """How the weights were chosen; empty for a file that holds nothing else, in the network's own names."""
    parts = ["those of the file itself" if chosen.address == ROOT else f"'{chosen.shown}'"]
    if chosen.is_average:
        parts.append("a moving average")
    if chosen.prefix:
        parts.append(f"without '{chosen.prefix[:LONGEST]}' before their names")
    if chosen.dialect:
        parts.append(f"which are {chosen.dialect}")
    alike = [one for one in candidates if one is not chosen and 2 * one.fits > chosen.fits]
    others = [one.shown for one in raw or alike]
    if parts == ["those of the file itself"] and not others:
        return []
    line = f"{file}: the weights are {', '.join(parts)}"
    if others:
        line += f". Beside them: {', '.join(others[:SHOWN])}; {name}@{file}#{others[0]} takes that"
    if not chosen.complete and len(raw) == 1:
        line += f". They have no buffers (BatchNorm statistics): those of '{others[0]}' are used"
    return [line]


def _listing(candidates: list[Candidate], module: nn.Module, name: str, file: str) -> str:
    """The keys there are, and how much of the network each has."""
    total = len([one for one in module.state_dict() if not one.endswith(COUNTERS)])
    ranked = sorted(candidates, key=lambda one: -one.fits)
    rows = [f"#{one.shown}: {one.fits} of {total} tensors fit" for one in ranked[:SHOWN]]
    return f"Name one, for instance {name}@{file}#{ranked[0].shown}\n  " + "\n  ".join(rows)
