"""Sealed runs: a record that nobody can change unseen, of who did what with a run and with which data.

`chain` is that record, `isolation` says how far the process was cut off, `phases` which rights a verb has and whether
one of them was broken, `sealing` ties a run to all three. The ledger of the guard stays what it is: the chain binds it
by its hash.
"""

from .chain import CHAIN
from .phases import record_phase

__all__ = ["CHAIN", "record_phase"]
