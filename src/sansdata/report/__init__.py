"""One self-contained HTML page about a run, made from the files of its directory."""

from .page import write_report

__all__ = ["write_report"]
