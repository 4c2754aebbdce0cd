"""One self-contained HTML page about a run, or about several side by side, made from the files of their directories."""

from .comparison import checked_target, write_comparison
from .groups import read_groups
from .page import write_report

__all__ = ["checked_target", "read_groups", "write_comparison", "write_report"]
