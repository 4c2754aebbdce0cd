"""A signal asks the run to save and leave; a second one leaves at once."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


class StopRequest:
    """`name` is the signal that came, or None."""

    name: str | None = None


@contextlib.contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Listens while the body runs. Outside the main thread Python allows no handlers: then nothing is listened for."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def asked(number: int, _: FrameType | None) -> None:
        request.name = signal.Signals(number).name
        for other in STOPPING:
            signal.signal(other, signal.SIG_DFL)  # the second one ends the process

    before = {number: signal.signal(number, asked) for number in STOPPING}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
