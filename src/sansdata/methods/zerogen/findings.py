"""What a run says of the texts that were written: how many were kept, how much they differ, what they are about."""

from __future__ import annotations

from ...figures import Figure, Finding
from ...memory import Pool
from .labels import balanced
from .written import Written


def findings_of(written: Written, pool: Pool, first_texts_given: bool | None = None) -> list[Finding]:
    """Yield, and how often the writer's own judgement is the label that was asked for. first_texts_given: of two texts,
    whether the first are the user's; else they were written."""
    drawn = max(1, written.drawn)
    again = sum(written.refused.get(reason, 0) for reason in ("same", "near"))
    with_context = sum(map(bool, written.contexts))
    findings: list[Finding] = [
        Figure("written", len(written), "count", "texts that were kept"),
        Figure("yield", len(written) / drawn, "share", "continuations that became a text", "higher"),
        Figure(
            "repeated", again / max(1, again + len(written)), "share", "texts that had been written before", "lower"
        ),
        Figure(
            "contexts", len(set(written.contexts)) if with_context else 0, "count", "distinct contexts of the texts"
        ),
    ]
    if first_texts_given is not None:
        findings.append(
            Figure(
                "first_texts_given", float(first_texts_given), "share",
                "pairs whose first text is from a file of yours, so that it is real; the second was written",
            )
        )  # fmt: skip
    if pool.logits is not None and pool.targets is not None and len(pool):
        count = len(pool)
        agreed = (balanced(pool.logits[:count]).argmax(1) == pool.targets[:count]).float().mean()
        findings.append(
            Figure("confirmed", float(agreed), "share", "texts whose label the writer's own score confirms", "higher")
        )
    return findings
