"""`sansdata VERB ...`. Help and faults of settings answer before torch is imported: verbs import it when they run."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from typing import TextIO

# A waiting thread that sleeps instead of spinning: two busy processes on one machine otherwise slow each other tenfold.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import typer

from ..errors import SansdataError, UserError, first_line
from . import (
    audit,
    autoencoder,
    bundle,
    card,
    check,
    compress,
    convert,
    demo,
    distill,
    doctor,
    evaluate,
    export,
    federate,
    finetune,
    listing,
    monitor,
    predict,
    quantize,
    report,
    reproduce,
    rows,
    trim,
    validate,
    verify,
    vocabulary,
)

app = typer.Typer(
    name="sansdata",
    help="A small student from a trained teacher, without the teacher's data.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("distill")(distill.distill)
app.command("federate")(federate.federate)
app.command("check")(check.check)
app.command("convert")(convert.convert)
app.add_typer(bundle.bundle)
app.command("autoencoder")(autoencoder.autoencoder)
app.command("rows")(rows.rows)
app.command("vocabulary")(vocabulary.vocabulary)
app.command("evaluate")(evaluate.evaluate)
app.command("validate")(validate.validate)
app.command("finetune")(finetune.finetune)
app.command("audit")(audit.audit)
app.command("export")(export.export)
app.command("predict")(predict.predict)
app.command("compress")(compress.compress)
app.command("quantize")(quantize.quantize)
app.command("trim")(trim.trim)
app.command("report")(report.report)
app.command("card")(card.card)
app.command("monitor")(monitor.monitor)
app.command("verify")(verify.verify)
app.command("reproduce")(reproduce.reproduce)
app.command("list")(listing.listing)
app.command("demo")(demo.demo)
app.command("doctor")(doctor.doctor)


def run() -> None:
    """The entry point. 0 done; 2 the input is wrong; 75 stopped by a signal and resumable; 1 anything else.

    Nothing ends in a traceback: who wants to see one starts `python -X dev -m sansdata`.
    """
    _keep_streams_usable()
    code = _exit_code()
    if code != 0:
        _leave_the_group(code)
    sys.exit(code)


def _exit_code() -> int:
    try:
        os.getcwd()
    except OSError:
        return _complain("error: the folder that this was started in is no longer there; change to another", 2)
    try:
        app()
    except SystemExit as leave:
        code = leave.code if isinstance(leave.code, int) else int(leave.code is not None)
    except SansdataError as fault:
        label = "error" if isinstance(fault, UserError) else type(fault).__name__
        code = _complain(f"{label}: {fault}", fault.exit_code)
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:
        code = 1
    except OSError as fault:
        code = _complain(f"error: {first_line(fault)}", 1)
    except Exception as fault:
        if sys.flags.dev_mode:
            raise
        code = _complain(f"error: {first_line(fault)} ({_place(fault)}; `python -X dev -m sansdata` shows more)", 1)
    try:
        sys.stdout.flush()
    except OSError as fault:  # a full disk, or a reader such as `head` that has left
        _silence(sys.stdout)
        return 1 if isinstance(fault, BrokenPipeError) else _complain(f"error: standard output: {first_line(fault)}", 1)
    return code


def _complain(text: str, code: int) -> int:
    """Says it where that is possible, and gives the code to leave with."""
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        _silence(sys.stderr)
    return code


def _place(fault: BaseException) -> str:
    """'fm.py, line 123': the last place of ours that the fault came through."""
    ours = [frame for frame in traceback.extract_tb(fault.__traceback__) if "sansdata" in frame.filename]
    return f"{os.path.basename(ours[-1].filename)}, line {ours[-1].lineno}" if ours else "outside sansdata"


def _keep_streams_usable() -> None:
    """A closed stream takes what is written to it; a terminal that lacks a letter shows its number."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        stream = getattr(sys, name)
        if stream is None:  # closed: the next file to be opened would get its number
            handle = os.open(os.devnull, os.O_RDWR)
            if handle != number:
                os.dup2(handle, number)
            setattr(sys, name, open(number, "r" if number == 0 else "w", closefd=False))  # noqa: SIM115
        elif number and hasattr(stream, "reconfigure"):
            with contextlib.suppress(OSError):
                stream.reconfigure(errors="backslashreplace")


def _silence(stream: TextIO) -> None:
    """Python would write what is left at its end, and complain itself."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _leave_the_group(code: int) -> None:
    """torch tidies up with the other processes before it lets this one go, which may not answer for ever."""
    group = sys.modules.get("torch.distributed")
    if group is not None and group.is_available() and group.is_initialized():
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)


if __name__ == "__main__":
    run()
