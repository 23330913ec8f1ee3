"""A server for random tests: answers each command by what it has taken, and now and then as it likes.

It knows what it took: ``accepted`` are sender and recipients of the messages it said 2xx to, in order.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import attrs

Choose = Callable[[str], str]
"""What to do with a command that would be taken: a code, ``close``, or ``""`` for what is proper."""


@attrs.define
class ModelServer:
    """Bytes in, reply lines out. ``gone`` once it has closed; ``had`` are the senders of messages it had in whole.

    A ``lenient`` one takes for the end of a message whatever any server was seen to take for it.
    """

    choose: Choose
    stays_after_421: bool = False
    lenient: bool = False
    accepted: list[tuple[str, tuple[str, ...]]] = attrs.Factory(list)
    had: list[str] = attrs.Factory(list)
    gone: bool = False
    _buffer: bytes = b""
    _sender: str | None = None
    _recipients: list[str] = attrs.Factory(list)
    _in_data: bool = False

    def receive(self, data: bytes) -> list[str]:
        """The replies to what these bytes complete."""
        self._buffer += data
        replies: list[str] = []
        while not self.gone and (step := self._step()) is not None:
            replies += [step] if step else []
        return replies

    def _step(self) -> str | None:
        if self._in_data:
            end = (_ANY_END if self.lenient else _END).search(self._buffer)
            if end is None:
                return None
            self._buffer = self._buffer[end.end() :]
            self._in_data = False
            return self._message()
        line, end, rest = self._buffer.partition(b"\r\n")
        if not end:
            return None
        verb = line[:4].decode()
        if verb == "BDAT":
            size = int(line.split()[1])
            if len(rest) < size:
                return None
            self._buffer = rest[size:]
            return self._message() if self._recipients else self._say("BDAT", "503")
        self._buffer = rest
        return self._COMMANDS[verb](self, line.decode())

    def _message(self) -> str:
        sender, recipients, self._sender, self._recipients = self._sender, self._recipients, None, []
        if recipients and sender is not None:
            self.had.append(sender)
        reply = self._say("FINAL", "250" if recipients else "554")
        if reply.startswith("2") and sender is not None:
            self.accepted.append((sender, tuple(recipients)))
        return reply

    def _mail(self, line: str) -> str:
        if self._sender is not None:
            return self._say("MAIL", "503")
        reply = self._say("MAIL", "250")
        if reply.startswith("25"):
            self._sender, self._recipients = _path(line), []
        return reply

    def _rcpt(self, line: str) -> str:
        if self._sender is None:
            return self._say("RCPT", "503")
        reply = self._say("RCPT", "250")
        if reply.startswith("25"):
            self._recipients.append(_path(line))
        return reply

    def _data(self, line: str) -> str:
        if not self._recipients:
            return self._say("DATA", "503" if self._sender is None else "554")
        reply = self._say("DATA", "354")
        self._in_data = reply.startswith("354")
        return reply

    def _rset(self, line: str) -> str:
        self._sender, self._recipients = None, []
        return self._say("RSET", "250")

    def _quit(self, line: str) -> str:
        self.gone = True
        return "221 bye"

    def _say(self, verb: str, proper: str) -> str:
        wish = self.choose(verb) if proper[0] in "23" else ""
        if wish == "close":
            self.gone = True
            return ""
        code = wish or proper
        if code in ("421", "221") and not self.stays_after_421:
            self.gone = True
        return f"{code} {_TEXTS[verb]}"

    _COMMANDS = {"MAIL": _mail, "RCPT": _rcpt, "DATA": _data, "RSET": _rset, "QUIT": _quit}  # noqa: RUF012  # no field


_END = re.compile(rb"(?:\A|\r\n)\.\r\n")
_ANY_END = re.compile(rb"(?:\A|\r\n|\r|\n)\x00?\.\x00?(?:\r+\n|\n|\r)")


def _path(line: str) -> str:
    return line.partition("<")[2].partition(">")[0]


_TEXTS: Mapping[str, str] = {
    "MAIL": "sender",
    "RCPT": "recipient",
    "DATA": "go on",
    "RSET": "forgotten",
    "FINAL": "queued as 4XYZ7",
    "BDAT": "no recipients",
}
