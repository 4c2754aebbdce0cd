"""`python -m sansdata`."""

from .cli.main import run

run()
