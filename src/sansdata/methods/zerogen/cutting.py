"""From what a language model went on to say to a text, or to nothing: the rules of ZeroGen's release."""

from __future__ import annotations

QUOTE, MARK = '"', "?"
"""Behind the first of which nothing of a text or a context, and of a question, is read."""


def cut(continuation: str) -> str:
    """Of a text or a context what stands before the first quote; failing that before the first line feed; failing that
    up to the last full stop; else ''."""
    for sign in (QUOTE, "\n"):
        head, mark, _ = continuation.partition(sign)
        if mark:
            return head.strip()
    return continuation[: continuation.rfind(".") + 1].strip()


def cut_question(continuation: str) -> str:
    """Up to the first question mark and with it; '' without one."""
    head, mark, _ = continuation.partition(MARK)
    return (head + mark).strip() if mark else ""


def reason_against(text: str, context: str, fewest: int) -> str:
    """Why a text is not kept: 'empty', 'short' (fewer than `fewest` words between spaces) or 'context' (it says the
    context again); '' for one that is."""
    if not text:
        return "empty"
    if len(text.split()) < fewest:
        return "short"
    return "context" if context and text == context else ""
