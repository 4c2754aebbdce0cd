"""No more in a second than a service allows."""

from __future__ import annotations

import threading
import time

from .offer import Rate


class Pace:
    """Two buckets of tokens, of requests and of samples; each holds what may be asked in one second."""

    def __init__(self, rate: Rate) -> None:
        self.rates = {"requests": rate.requests, "samples": rate.samples}
        self._ready_at = dict.fromkeys(self.rates, 0.0)
        self._lock = threading.Lock()

    def wait(self, samples: int) -> None:
        """Before a request of so many samples."""
        with self._lock:
            now, begin = time.monotonic(), time.monotonic()
            for name, amount in (("requests", 1), ("samples", samples)):
                rate = self.rates[name]
                if rate is not None:
                    start = max(self._ready_at[name], now - 1)  # what was not used for a second is lost
                    self._ready_at[name] = start + amount / rate
                    begin = max(begin, self._ready_at[name])
        if begin > now:
            time.sleep(begin - now)
