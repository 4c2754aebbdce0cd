"""A signal asks the run to save and leave; a second one leaves at once.

Where moves are made, the request waits for the end of the present one, which can be saved. Everywhere else nothing that
was saved can be lost, and the signal is answered wherever it meets the program.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

ASKED = (signal.SIGTERM, signal.SIGINT)
"""Ask any process to end."""
FREE = (signal.SIGUSR1, signal.SIGHUP)
"""Ask it where nobody has given them another meaning: batch systems send the first, a closed terminal the second."""
GRACE = 2.0
"""Seconds that a move has to end after a signal; a longer one is given up at the end of the present pass."""
_LIBC = ctypes.CDLL(None)
_ACTION = 256
"""Bytes: more than a `struct sigaction` has. It begins with the handler, and 0 is the system's own."""


class StopRequest:
    """`name` is the signal that came, or None."""

    def __init__(self) -> None:
        self.name: str | None = None
        self._came = math.inf
        self._waits = False

    @contextlib.contextmanager
    def waits_for_moves(self) -> Iterator[None]:
        """While the body runs a signal is only noted: who makes the moves asks for it."""
        self._waits = True
        try:
            yield
        finally:
            self._waits = False

    @property
    def overdue(self) -> bool:
        """Whether a signal has waited for longer than a move may take to end."""
        return self.name is not None and time.monotonic() - self._came > GRACE

    def come(self, number: int) -> None:
        """Notes a signal. Raises KeyboardInterrupt where it need not wait."""
        self.name, self._came = signal.Signals(number).name, time.monotonic()
        if not self._waits:
            raise KeyboardInterrupt(self.name)


@contextlib.contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Listens while the body runs. Outside the main thread Python allows no handlers: then nothing is listened for.

    SIGUSR1 and SIGHUP keep the meaning that a program has given them. A closed terminal that is ignored stays ignored:
    that is what `nohup` asks for.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.getsignal(number) or signal.SIG_DFL for number in (*ASKED, *FREE)}
    actions = {number: _action(number) for number in before}
    numbers = [number for number in before if number in ASKED or _is_default(actions[number])]

    def asked(number: int, _: FrameType | None) -> None:
        for other in numbers:
            signal.signal(other, signal.SIG_DFL)  # the second one ends the process
        request.come(number)

    for number in numbers:
        signal.signal(number, asked)
    try:
        yield request
    finally:
        for number in numbers:
            signal.signal(number, before[number])
            _LIBC.sigaction(number, actions[number], None)


def _action(number: int) -> ctypes.Array[ctypes.c_char]:
    """What the system does at a signal. Of a handler that C code installed, as `faulthandler` does, Python knows
    nothing, and `signal.signal` would not bring it back."""
    action = ctypes.create_string_buffer(_ACTION)
    _LIBC.sigaction(number, None, action)
    return action


def _is_default(action: ctypes.Array[ctypes.c_char]) -> bool:
    return ctypes.c_void_p.from_buffer(action).value is None
