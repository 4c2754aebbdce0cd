"""One question to a service over HTTP, asked again while the service is busy or away: what all clients share.

Nothing is followed that was not named: no proxy, no redirection. A certificate is always checked. An answer is read in
bounded size and time. The key comes from the environment and is written nowhere.
"""

from __future__ import annotations

import http.client
import ipaddress
import os
import random
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from ... import __version__
from ...errors import TeacherError, first_line

PATIENCE, DEADLINE = 120.0, 900.0
"""Seconds for one answer; for all tries of one question."""
ATTEMPTS, LONGEST_WAIT = 6, 60.0
"""Tries; seconds between two of them at most."""
IDLE = 4.0
"""Seconds after which a connection is not used again: many servers close theirs after five."""
MAX_ANSWER_BYTES = 4_000_000
PIECE = 65_536
BUSY = (408, 409, 425, 429, 500, 502, 503, 504, 529)
"""Answers after which the same question is asked again."""


class NotSent(TeacherError):
    """A question that never left: no service can have counted it."""


@dataclass(frozen=True)
class Address:
    """Where a service is asked."""

    secure: bool
    host: str
    port: int
    path: str

    @property
    def url(self) -> str:
        return f"{'https' if self.secure else 'http'}://{self.host}:{self.port}{self.path}"


def address_of_url(url: str, whose: str, key: str) -> Address:
    """whose: what is asked there; key: the variable in which its key belongs. Raises TeacherError for an address that
    cannot be read, holds a secret, or would send in the clear."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise TeacherError(f"{whose} has no readable address; expected https://host/path") from None
    if not host or parts.scheme not in ("http", "https"):
        raise TeacherError(f"{whose} has no address; expected https://host/path, got '{url[:60]}'")
    if parts.username or parts.password or parts.query:
        raise TeacherError(f"the address of {whose} holds a secret or a query; a key goes into {key}")
    if not (_plain(parts.path) and _can_be_asked_for(host)):
        raise TeacherError(
            f"the address of {whose} holds a space or another letter that no request can carry; write it as %20, and "
            f"others in the same way: got '{url[:200]}'"
        )
    secure = parts.scheme == "https"
    if not secure and not on_this_machine(host):
        raise TeacherError(f"http://{host} would send key and inputs in the clear; use https")
    return Address(secure, host, port or (443 if secure else 80), parts.path or "/")


def _plain(text: str) -> bool:
    """Whether it is printable ASCII without a space."""
    return text.isascii() and text.isprintable() and " " not in text


def _can_be_asked_for(host: str) -> bool:
    try:
        return _plain(host.encode("idna").decode())
    except UnicodeError:  # a part of it is empty, too long, or of letters that no name has
        return False


def on_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Client:
    """Asks one address. Safe to use from several threads, each of which has a connection of its own."""

    def __init__(self, address: Address, source: str, keys: Sequence[str]) -> None:
        """source: what is asked, for messages. keys: where its key is looked for in the environment, in this order."""
        self.address, self.source, self.keys = address, source, tuple(keys)
        self._here = threading.local()

    def post(self, body: bytes, lost: Callable[[], None] = lambda: None) -> bytes:
        """The body of the first answer that is one. lost: called before a question is sent again whose answer did not
        come, for the service may have counted it. Raises TeacherError where there is no answer to be had, NotSent where
        the question did not leave the last time it was tried."""
        headers, until = self._headers(), time.monotonic() + DEADLINE
        reason, left = "", False
        for attempt in range(ATTEMPTS):
            wait = 2.0**attempt * random.SystemRandom().uniform(0.5, 1)  # so that many do not come back at once
            left = False
            try:
                connection = self._connection()
                left = True
                status, data, asked_wait = self._exchange(connection, body, headers)
            except (OSError, http.client.HTTPException) as fault:
                self._forget()
                if isinstance(fault, ssl.SSLCertVerificationError):
                    why = f"its certificate is not to be trusted ({first_line(fault)})"
                    raise NotSent(f"{self.source}: {why}") from None
                reason, again = first_line(fault), lost if left else _nothing
            except ValueError:  # its text may hold a header, and so the key
                self._forget()
                wrong = TeacherError if left else NotSent
                raise wrong(f"{self.source}: no request can be made of its address and its key") from None
            else:
                if status == 200:
                    return data
                reason, again = f"status {status}: {self.without_key(data.decode(errors='replace'))[:300]}", _nothing
                if status not in BUSY:
                    break
                wait = max(wait, asked_wait)
            if attempt + 1 == ATTEMPTS or time.monotonic() + wait > until:
                break
            time.sleep(min(wait, LONGEST_WAIT))
            again()
        raise (TeacherError if left else NotSent)(f"{self.source}: gives no answer ({reason})")

    def _headers(self) -> dict[str, str]:
        headers = {
            "Content-Type": "application/json", "Accept": "application/json", "User-Agent": f"sansdata/{__version__}",
        }  # fmt: skip
        if key := self._key():
            headers["Authorization"] = f"Bearer {key}"
        return headers

    def _exchange(
        self, connection: http.client.HTTPConnection, body: bytes, headers: Mapping[str, str]
    ) -> tuple[int, bytes, float]:
        """(status, body, seconds that the service asks to wait)."""
        connection.request("POST", self.address.path, body, headers)
        answer = connection.getresponse()
        data = self._body(answer)
        if answer.will_close:
            self._forget()
        return answer.status, data, _seconds(answer.getheader("Retry-After"))

    def _body(self, answer: http.client.HTTPResponse) -> bytes:
        """In bounded size, and in bounded time however slowly it comes."""
        pieces, size, until = [], 0, time.monotonic() + PATIENCE
        while piece := answer.read1(PIECE):
            size += len(piece)
            if size > MAX_ANSWER_BYTES:
                self._forget()
                raise TeacherError(f"{self.source}: an answer of more than {MAX_ANSWER_BYTES:,} bytes")
            if time.monotonic() > until:
                raise TimeoutError(f"an answer that took more than {PATIENCE:.0f} s")
            pieces.append(piece)
        if answer.length:  # of what was announced, so much did not come
            raise http.client.IncompleteRead(b"", answer.length)
        answer.close()  # the connection is free for the next question
        self._here.used = time.monotonic()
        return b"".join(pieces)

    def _connection(self) -> http.client.HTTPConnection:
        """This thread's own, connected; a new one where the service may have closed the old one meanwhile."""
        if time.monotonic() - getattr(self._here, "used", -IDLE) > IDLE:
            self._forget()
        self._here.used = time.monotonic()
        if getattr(self._here, "connection", None) is None:
            address = self.address
            if address.secure:
                context = ssl.create_default_context()
                self._here.connection = http.client.HTTPSConnection(
                    address.host, address.port, timeout=PATIENCE, context=context
                )
            else:
                self._here.connection = http.client.HTTPConnection(address.host, address.port, timeout=PATIENCE)
            self._here.connection.connect()
        return self._here.connection

    def _forget(self) -> None:
        if getattr(self._here, "connection", None) is not None:
            self._here.connection.close()
            self._here.connection = None

    def _key(self) -> str:
        """Without what surrounds it, such as the carriage return of a file from Windows. Raises NotSent for what no
        header can hold."""
        name, key = self._named_key()
        if not (key.isascii() and key.isprintable()):
            raise NotSent(
                f"{self.source}: what the environment has as {name} is no key: it holds a line break or letters beyond "
                "ASCII. Set it again"
            )
        return key

    def _named_key(self) -> tuple[str, str]:
        """(name of the variable, key) of the first that is set."""
        variables = ((name, os.environ.get(name, "").strip()) for name in self.keys)
        return next(((name, key) for name, key in variables if key), ("", ""))

    def without_key(self, text: str) -> str:
        """In one line, and without the key where the service repeats it."""
        _, key = self._named_key()
        return " ".join((text.replace(key, "[key]") if key else text).split())


def _nothing() -> None: ...


def _seconds(text: str | None) -> float:
    """Of the header Retry-After; dates and nonsense are 0."""
    try:
        return min(max(float(text or 0), 0.0), LONGEST_WAIT)
    except ValueError:
        return 0.0
