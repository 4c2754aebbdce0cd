"""`sansdata VERB ...`. Help and faults of settings answer before torch is imported: verbs import it when they run."""

from __future__ import annotations

import os
import sys

# A waiting thread that sleeps instead of spinning: two busy processes on one machine otherwise slow each other tenfold.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import typer

from ..errors import SansdataError, UserError
from . import check, compress, convert, demo, distill, doctor, evaluate, export, federate, listing, report, reproduce

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
app.command("evaluate")(evaluate.evaluate)
app.command("export")(export.export)
app.command("compress")(compress.compress)
app.command("report")(report.report)
app.command("reproduce")(reproduce.reproduce)
app.command("list")(listing.listing)
app.command("demo")(demo.demo)
app.command("doctor")(doctor.doctor)


def run() -> None:
    """The entry point. 0 done; 2 the input is wrong; 75 stopped by a signal and resumable; 1 anything else."""
    try:
        app()
    except SansdataError as fault:
        label = "error" if isinstance(fault, UserError) else type(fault).__name__
        print(f"{label}: {fault}", file=sys.stderr)
        sys.exit(fault.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(1)


if __name__ == "__main__":
    run()
