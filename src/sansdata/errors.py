"""One tree of errors. Each says what was expected, what came, and how to mend it.

`UserError` and its children are faults of the input: the command prints them without a traceback and exits with 2.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SansdataError(Exception):
    """Anything sansdata raises on purpose. `exit_code` is what the command returns for it."""

    exit_code = 1


class UserError(SansdataError):
    """The input is wrong; nothing was started and nothing was lost."""

    exit_code = 2


class ConfigError(UserError):
    """A setting is unknown, of the wrong type, or out of range."""


class TaskError(UserError):
    """A task file or name does not describe a task we know."""


class TeacherError(UserError):
    """The teacher cannot be read, is out of scope, or does not fit the task."""


class UnsafeFileError(TeacherError):
    """A model file would have to run code to be read, or lies about its contents."""


class BundleError(UnsafeFileError):
    """A bundle is not what its maker wrote, or is no bundle. `reason` names the check that refused it, in a word."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class StudentError(UserError):
    """The student cannot be built or does not fit the task."""


class MethodError(UserError):
    """The method is unknown or cannot work with this teacher or these options."""


class DataError(UserError):
    """A set of images, for evaluation or as a pool, cannot be found or read."""


class RunDirectoryError(UserError):
    """The output directory exists, is locked, or does not belong to this run."""


class SealError(RunDirectoryError):
    """The record of a sealed run was changed, or says that a phase was broken."""


class ResumeError(UserError):
    """A run cannot be continued exactly: settings, machine, threads or files differ."""


class MissingLibraryError(UserError):
    """An optional library is needed here and cannot be imported."""


class DivergedError(SansdataError):
    """A loss or a gradient is not finite. The last checkpoint is intact."""


class NoDataViolation(SansdataError):
    """A strict run read a file that was not declared."""


class DisclosureError(SansdataError):
    """What was about to be written would tell of single patients. Nothing was written."""


class ReplyRefused(SansdataError):
    """A client's reply is wrong; the round goes on without it."""


class ClientLost(SansdataError):
    """A client did not answer; the round goes on without it."""


class OutOfMemory(SansdataError):
    """The machine has less memory than a move needs. The last checkpoint is intact."""


class BudgetSpent(SansdataError):
    """The budget ended before the first student step. What was made is kept."""


class PeerLost(SansdataError):
    """Another process of the run ended, or does not answer. The last checkpoint is intact."""


class Interrupted(SansdataError):
    """A signal stopped the run; `--resume` continues it from what was saved."""

    exit_code = 75


LISTED = 60
"""Names that a message lists at most."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The sentence that names the nearest match, or lists what there is, as far as a message has room."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if close:
        return f"Did you mean '{close[0]}'?"
    more = f" and {len(known) - LISTED} more" if len(known) > LISTED else ""
    return "Known: " + ", ".join(known[:LISTED]) + more + "."


def first_line(fault: BaseException) -> str:
    """'ValueError: the first line of its message', at most 300 characters: a foreign fault in a sentence of ours."""
    lines = [line.strip() for line in str(fault).splitlines() if line.strip()]
    text = f"{type(fault).__name__}: {lines[0]}" if lines else type(fault).__name__
    return text if len(text) <= 300 else text[:297] + "..."
