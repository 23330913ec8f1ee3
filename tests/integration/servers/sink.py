"""Where the real servers hand on what they accepted: an SMTP server that keeps every byte and changes none."""

import re
import socketserver
import threading
import time
from collections.abc import Iterable
from types import TracebackType
from typing import Self

import attrs

# Header fields that a server puts on top of a message that passes through it.
_TRACE_FIELDS = frozenset({b"received", b"return-path", b"delivered-to", b"authentication-results"})
_FIELD = re.compile(rb"([!-9;-~]+):.*\r\n(?:[ \t].*\r\n)*")
_PATH = re.compile(rb"(?:MAIL FROM|RCPT TO):\s*<([^>]*)>\s*(.*)", re.IGNORECASE)


@attrs.frozen(kw_only=True)
class Delivery:
    """One message as a server handed it on."""

    mail_from: str
    rcpt_to: tuple[str, ...]
    mail_parameters: tuple[str, ...]
    data: bytes
    """Exact bytes after dot-unstuffing, with the trace fields that the server put on top."""

    @property
    def content(self) -> bytes:
        """The data without the trace fields on top: what the client sent, if the server changed nothing."""
        start = 0
        while (field := _FIELD.match(self.data, start)) and field[1].lower() in _TRACE_FIELDS:
            start = field.end()
        return self.data[start:]

    @property
    def trace(self) -> bytes:
        """The trace fields on top."""
        return self.data[: len(self.data) - len(self.content)]


class _Session(socketserver.StreamRequestHandler):
    """Says yes to everything, so that whatever is missing was lost before it came here."""

    server: "_Listener"

    def handle(self) -> None:
        self._say(b"220 sink.test ESMTP")
        mail_from = ""
        parameters: tuple[str, ...] = ()
        rcpt_to: list[str] = []
        while line := self.rfile.readline():
            verb = line[:4].upper().strip()
            if verb in (b"EHLO", b"LHLO"):
                self._say(b"250-sink.test", b"250-8BITMIME", b"250-SMTPUTF8", b"250-PIPELINING", b"250 SIZE 0")
            elif verb == b"MAIL":
                mail_from, parameters = _path(line)
                rcpt_to = []
                self._say(b"250 2.1.0 Ok")
            elif verb == b"RCPT":
                rcpt_to.append(_path(line)[0])
                self._say(b"250 2.1.5 Ok")
            elif verb == b"DATA":
                self._say(b"354 Go on")
                data = self._read_data()
                self.server.keep(
                    Delivery(mail_from=mail_from, mail_parameters=parameters, rcpt_to=tuple(rcpt_to), data=data)
                )
                self._say(b"250 2.0.0 Kept")
            elif verb == b"QUIT":
                self._say(b"221 2.0.0 Bye")
                return
            else:
                self._say(b"250 2.0.0 Ok")

    def _read_data(self) -> bytes:
        lines = []
        while (line := self.rfile.readline()) != b".\r\n":
            if not line:
                raise ConnectionError("the server hung up in the middle of a message")
            lines.append(line[1:] if line.startswith(b".") else line)
        return b"".join(lines)

    def _say(self, *lines: bytes) -> None:
        self.wfile.write(b"\r\n".join(lines) + b"\r\n")


def _path(command: bytes) -> tuple[str, tuple[str, ...]]:
    found = _PATH.match(command.rstrip(b"\r\n"))
    if found is None:
        raise ValueError(f"not a path: {command!r}")
    return found[1].decode(), tuple(found[2].decode().split())


class _Listener(socketserver.ThreadingTCPServer):
    daemon_threads = True
    # Connections that a server keeps for later messages end when the server does; closing must not wait for them.
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Session)
        self.kept: list[Delivery] = []
        self.changed = threading.Condition()

    def keep(self, delivery: Delivery) -> None:
        with self.changed:
            self.kept.append(delivery)
            self.changed.notify_all()

    def handle_error(self, request: object, client_address: object) -> None:
        """Servers that are being stopped cut their connections; whatever that loses shows as a missing delivery."""


class Sink:
    """An SMTP server on a free loopback port that keeps what it is given."""

    def __init__(self) -> None:
        self._listener = _Listener()
        self._thread = threading.Thread(
            target=self._listener.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )

    @property
    def port(self) -> int:
        """The TCP port on 127.0.0.1."""
        return self._listener.server_address[1]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown()
        self._listener.server_close()
        self._thread.join()

    def deliveries(self, marker: bytes = b"") -> list[Delivery]:
        """All that arrived so far and holds ``marker``, in the order of arrival."""
        with self._listener.changed:
            return [delivery for delivery in self._listener.kept if marker in delivery.data]

    def wait(self, recipients: Iterable[str], marker: bytes, timeout_s: float) -> dict[str, Delivery]:
        """Wait until each recipient has a message that holds ``marker``; servers may split one over several.

        Raises:
            TimeoutError: Naming the recipients that got none.
        """
        wanted = set(recipients)
        deadline = time.monotonic() + timeout_s
        with self._listener.changed:
            while True:
                arrived = {
                    recipient: delivery
                    for delivery in self._listener.kept
                    if marker in delivery.data
                    for recipient in delivery.rcpt_to
                }
                missing = wanted - arrived.keys()
                if not missing:
                    return arrived
                if not self._listener.changed.wait(deadline - time.monotonic()):
                    raise TimeoutError(f"nothing arrived for {', '.join(sorted(missing))} within {timeout_s} s")

    def clear(self) -> None:
        """Forget what arrived."""
        with self._listener.changed:
            self._listener.kept.clear()
