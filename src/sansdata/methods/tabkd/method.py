"""TabKD: rows that cross a teacher's boundaries and cover its bins in pairs, for teachers that are only asked.

After TabKD (arXiv 2603.15481): bins that lie where the teacher's answer changes, and queries that cover pairs of bins;
and after CAKE (arXiv 2306.02090): pairs of rows driven to the boundary between two classes. Of both papers only the
abstracts were read.

Deviation: all inner details are ours. Bins are found by sweeps along one column at a time and bisection; pairs are
covered greedily; a last share of the queries goes to neighbours of rows on which the student is most wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import pydantic
import torch
from torch import Generator, Tensor

from ... import columns
from ...config import Strict
from ...contracts import Access, Batch, Losses, Requirements, Stateful
from ...kinds.index import input_kind
from ...kinds.inputs.table import Table
from ...memory import Pool, Slot
from ...method import Context
from ...models.modes import fixed
from ...objectives.logits import kl
from ...synthesis.rounds import InRounds, Round, Schedule
from ...training.transfer import TransferSettings
from .coverage import Coverage
from .rows import Rows, between, chosen, mutated, with_value

CHUNK = 4096
"""The most rows that the teacher is asked about at once."""
BISECTIONS = 6
"""How often an interval in which the answer changes is halved: six times make a 64th of a step of the sweep."""
CHANGE = 0.1
"""The total variation between two answers, 0..1, from which on a boundary lies between them."""
EDGE = 0.01
"""How far from a bin's edge the rows beside it are made, as a share of the column's range."""


class TabKDConfig(Strict):
    """All values are ours. Of 5,000 queries the default asks 1,000 by draws, 1,000 for bins and 3,000 in 8 rounds."""

    source: Literal["skewed", "uniform", "gaussian"] = "skewed"  # of what is drawn; uniform is after TabKD
    draws: int = pydantic.Field(default=1000, ge=2)  # rows asked first, each column drawn by itself
    search: int = pydantic.Field(default=1000, ge=0)  # most rows asked to find bins, in the second round; 0: no bins
    rows: int = pydantic.Field(default=375, ge=2)  # rows asked in each further round
    pairs: float = pydantic.Field(default=0.4, ge=0)  # share of a round: rows that cover pairs of bins
    edges: float = pydantic.Field(default=0.2, ge=0)  # rows beside the edges of bins
    boundary: float = pydantic.Field(default=0.2, ge=0)  # rows between two of different classes
    hard: float = pydantic.Field(default=0.2, ge=0)  # neighbours of rows that the student gets wrong
    bins: int = pydantic.Field(default=10, ge=2, le=1000)  # most bins of a column
    pool: int = pydantic.Field(default=60_000, ge=2)  # rows kept, the newest
    steps_per_round: int = pydantic.Field(default=250, ge=1)
    steps: int = pydantic.Field(default=2500, ge=1)
    transfer: TransferSettings = TransferSettings(
        optimizer="adam", lr=2e-3, weight_decay=0.0, temperature=1.0, batch=128
    )

    @pydantic.model_validator(mode="after")
    def _shares(self) -> TabKDConfig:
        if sum(self.shares.values()) > 1 + 1e-9:
            raise ValueError(
                f"pairs, edges, boundary and hard are shares of a round and make {sum(self.shares.values()):g}"
            )
        return self

    @property
    def shares(self) -> dict[str, float]:
        """Source of rows -> its share of a round; what is left is drawn."""
        return {"pairs": self.pairs, "edges": self.edges, "boundary": self.boundary, "hard": self.hard}


class TabKD(InRounds):
    """Asks the teacher about new rows, a round at a time, and learns from all that were asked so far."""

    Config: ClassVar[type] = TabKDConfig
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # The floor at the same number of queries: independent draws alone, 1,000 and then 9 times 444.
        "independent": {"search": 0, "rows": 444, "pairs": 0.0, "edges": 0.0, "boundary": 0.0, "hard": 0.0},
        # Half of each round beside rows that the student gets wrong, half draws: no bins, no pairs.
        "disagreement": {"search": 0, "rows": 444, "pairs": 0.0, "edges": 0.0, "boundary": 0.0, "hard": 0.5},
    }

    @classmethod
    def requires(cls, config: TabKDConfig) -> Requirements:
        return Requirements(access=Access.LABELS, inputs=frozenset({"table"}))

    @classmethod
    def round_of(cls, config: TabKDConfig) -> Round:
        return Round(config.steps_per_round)

    @classmethod
    def rehearsal(cls, config: TabKDConfig) -> TabKDConfig:
        return config.model_copy(update={"steps_per_round": 2})

    def __init__(self, config: TabKDConfig, context: Context) -> None:
        super().__init__(config, context)
        kind = input_kind(context.task)
        assert isinstance(kind, Table)
        self.table = kind
        self.pool = Pool(config.pool, kind)
        self.schedule = Schedule(self.round_of(config), rounds=0)
        self.cuts = Slot(**{column.name: [] for column in kind.spec.numbers})
        """Inner edges of the bins of each numeric column, ascending."""
        self.coverage = Coverage(kind, config.bins, config.source)

    def acquire(self) -> Losses:
        """The next round of questions: draws, then the search for bins, then rows of every source."""
        config, number = self.config, self.schedule["rounds"]
        if number == 0:
            self._draw(config.draws, self.context.streams("draws"))
        elif number == 1 and config.search:
            self._search(config.search)
        else:
            self._round(config.rows)
        self.schedule["rounds"] += 1
        self.schedule.begin_steps()
        losses = Losses()
        if config.search and number > 0:
            losses.add("covered_pairs", 1, lambda: torch.tensor(self.coverage.share(self.cuts.values)))
        return losses

    def transfer_batch(self) -> Batch:
        self.schedule.end_step()
        context = self.context
        pooled = self.pool.sample(self.config.transfer.batch, context.streams("pool"))
        place = context.runtime.place
        return context.teach(place(pooled.inputs), pooled.targets, place(pooled.extras["logits"]))

    def state(self) -> Mapping[str, Stateful]:
        return {"pool": self.pool, "schedule": self.schedule, "cuts": self.cuts, "coverage": self.coverage}

    # -- asking

    def _ask(self, rows: Rows) -> Tensor:
        """(B, K) probabilities of the teacher on `rows`, which join the pool."""
        answers = []
        for part in columns.split(rows, CHUNK):
            with torch.no_grad():
                logits = self.context.teacher(self.context.runtime.place(part)).logits.cpu()
            self.pool.add(part, logits.argmax(1), logits)
            assert not isinstance(part, Tensor)
            self.coverage.see(part, self.cuts.values)
            answers.append(logits.softmax(1))
        self.context.counters.add("samples", columns.count(rows))
        return torch.cat(answers)

    # -- bins

    def _search(self, budget: int) -> None:
        """Finds where the answer changes along each numeric column, at several random rows, and sets the bins there."""
        numbers = self.table.spec.numbers
        if not numbers or budget < 8 * len(numbers):
            return
        points = 9 if budget >= 27 * len(numbers) else 5
        backgrounds = max(1, round(0.6 * budget / (points * len(numbers))))
        stream = self.context.streams("search")
        rows = self.table.draw(backgrounds * len(numbers), stream, self.config.source)
        low, high = (torch.tensor([column.range[side] for column in numbers]) for side in (0, 1))  # type: ignore[index]
        swept = torch.arange(len(numbers)).repeat_interleave(backgrounds)
        grid = torch.linspace(0, 1, points)
        values = low[swept, None] + (high - low)[swept, None] * grid  # (rows, points)
        whole = columns.each(lambda column: column.repeat_interleave(points, 0), rows)
        assert not isinstance(whole, Tensor)
        answers = self._ask(with_value(self.table, whole, swept.repeat_interleave(points), values.flatten()))
        answers = answers.view(len(swept), points, -1)
        change = 0.5 * (answers[:, 1:] - answers[:, :-1]).abs().sum(2)
        self._bisect(rows, swept, values, answers, change, budget - len(swept) * points)

    def _bisect(self, rows: Rows, swept: Tensor, values: Tensor, answers: Tensor, change: Tensor, budget: int) -> None:
        """Narrows the intervals with the largest changes, as many as the budget is good for, and keeps their
        middles."""
        at, step = (change > CHANGE).nonzero(as_tuple=True)
        order = change[at, step].argsort(descending=True, stable=True)[: max(0, budget // BISECTIONS)]
        at, step = at[order], step[order]
        if not len(at):
            return
        low, high = values[at, step], values[at, step + 1]
        below, above = answers[at, step], answers[at, step + 1]
        background = columns.take(rows, at)
        assert not isinstance(background, Tensor)
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            answer = self._ask(with_value(self.table, background, swept[at], middle))
            left = (answer - below).abs().sum(1) >= (above - answer).abs().sum(1)
            high, above = torch.where(left, middle, high), torch.where(left[:, None], answer, above)
            low, below = torch.where(left, low, middle), torch.where(left[:, None], below, answer)
        weights = change[at, step]
        for place, column in enumerate(self.table.spec.numbers):
            mine = swept[at] == place
            cuts = merged_cuts((low + high)[mine] / 2, weights[mine], column.range, self.config.bins - 1)  # type: ignore[arg-type]
            self.cuts[column.name] = cuts
        self.coverage.see(self._asked(torch.arange(len(self.pool))), self.cuts.values)

    # -- rounds

    def _round(self, count: int) -> None:
        """Rows of every source by its share, and draws for what is left."""
        stream, spent = self.context.streams("rows"), 0
        make = {"pairs": self._pairs, "edges": self._edges, "boundary": self._boundary, "hard": self._hard}
        for name, share in self.config.shares.items():
            own = int(count * share)
            if own >= 2:
                make[name](own, stream)
                spent += own
        if count - spent >= 2:
            self._draw(count - spent, stream)

    def _draw(self, count: int, stream: Generator) -> None:
        self._ask(self.table.draw(count, stream, self.config.source))

    def _pairs(self, count: int, stream: Generator) -> None:
        assert self.pool.logits is not None
        labelled = self._asked(torch.arange(len(self.pool)))
        interest = self.coverage.interest(labelled, self.pool.logits[: len(self.pool)].softmax(1), self.cuts.values)
        self._ask(self.coverage.rows(count, self.cuts.values, interest, stream))

    def _edges(self, count: int, stream: Generator) -> None:
        """Rows on both sides of an edge of a bin, else as they were asked before."""
        numbers = self.table.spec.numbers
        edges = [(place, cut) for place, column in enumerate(numbers) for cut in self.cuts[column.name]]
        if not edges:
            return self._pairs(count, stream)
        picks = torch.randint(len(edges), (count,), generator=stream)
        place = torch.tensor([edge[0] for edge in edges])[picks]
        low, high = (torch.tensor([column.range[side] for column in numbers]) for side in (0, 1))  # type: ignore[index]
        side = 2 * torch.randint(2, (count,), generator=stream) - 1
        value = torch.tensor([edge[1] for edge in edges])[picks] + side * EDGE * (high - low)[place]
        value = value.clamp(low[place], high[place])
        self._ask(
            with_value(self.table, self._asked(torch.randint(len(self.pool), (count,), generator=stream)), place, value)
        )
        return None

    def _asked(self, ids: Tensor) -> Rows:
        """Rows of the pool, as they travel."""
        packed = self.pool.packed()
        assert packed is not None
        rows = self.table.unpack(columns.take(packed, ids))
        assert not isinstance(rows, Tensor)
        return rows

    def _boundary(self, count: int, stream: Generator) -> None:
        """Between two asked rows of different classes, closer in three steps."""
        assert self.pool.targets is not None
        targets, steps = self.pool.targets[: len(self.pool)], 3
        first, second = (torch.randint(len(targets), (count // steps,), generator=stream) for _ in range(2))
        apart = targets[first] != targets[second]
        if not bool(apart.any()):
            return self._pairs(count, stream)
        a, b = self._asked(first[apart]), self._asked(second[apart])
        classes = targets[first[apart]]
        for _ in range(steps):
            middle = between(self.table, a, b, stream)
            like_a = self._ask(middle).argmax(1) == classes
            a, b = chosen(like_a, middle, a), chosen(like_a, b, middle)
        return None

    def _hard(self, count: int, stream: Generator) -> None:
        """Neighbours of the asked rows on which the student is furthest from the teacher: two columns each drawn
        anew."""
        assert self.pool.logits is not None
        ids = torch.randperm(len(self.pool), generator=stream)[: 4 * count]
        answers = []
        with torch.no_grad(), fixed(self.context.student):
            for part in ids.split(CHUNK):
                rows = self.context.runtime.place(self._asked(part))
                answers.append(self.context.student_outputs(rows).logits.cpu())
        distance = kl(torch.cat(answers), self.pool.logits[ids])
        worst = ids[distance.argsort(descending=True, stable=True)[:count]]
        worst = worst[torch.randint(len(worst), (count,), generator=stream)]
        self._ask(mutated(self.table, self._asked(worst), stream, self.config.source))


def merged_cuts(cuts: Tensor, weights: Tensor, bounds: tuple[float, float], most: int) -> list[float]:
    """At most `most` cuts (C,), ascending: of those nearer than a 50th of the range the one with the largest weight."""
    near, cuts_left = (bounds[1] - bounds[0]) / 50, []
    for place in weights.argsort(descending=True, stable=True).tolist():
        value = float(cuts[place])
        if len(cuts_left) < most and all(abs(value - cut) >= near for cut in cuts_left):
            cuts_left.append(value)
    return sorted(cuts_left)
