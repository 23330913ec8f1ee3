"""Signing in: one mechanism, one try.

Trying all mechanisms in turn, as mail clients do, makes three failed sign-ins of one wrong password and locks
accounts. So the mechanism is chosen before, and a refusal ends it.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Awaitable, Callable, Iterator
from typing import Final, Protocol

import attrs
from aiosmtplib.auth import auth_crammd5_verify, auth_login_encode, auth_plain_encode, auth_xoauth2_encode

from genie_connect.model.text import clean_reply
from genie_connect_smtp.errors import ConnectionFault, Fault, ServerRefused
from genie_connect_smtp.extensions import Extensions
from genie_connect_smtp.replies import Reply
from genie_connect_smtp.stages import Stage


class Command(Protocol):
    """Sends the words of one line and returns the reply."""

    def __call__(self, *words: bytes) -> Awaitable[Reply]:
        """Send and wait."""
        ...


# The first that the server offers. Inside TLS the plainest is the most robust; in clear, the one that shows least.
_INSIDE_TLS: Final = ("plain", "login", "cram-md5")
_IN_CLEAR: Final = ("cram-md5", "plain", "login")


@attrs.frozen(repr=False)
class Credentials:
    """User name, and password or access token."""

    username: str
    password: str

    def scrubbed(self, reply: Reply) -> Reply:
        """The reply without the password, should a server have repeated it."""
        encodings = {self.password, base64.b64encode(self.password.encode()).decode()}
        encodings |= {line.decode() for line in _all_lines(self)}
        lines = reply.lines
        for secret in sorted(filter(None, encodings), key=len, reverse=True):
            # Only as a word of its own: "no" as a password must not black out half of every refusal.
            echoed = re.compile(rf"(?<!\w){re.escape(secret)}(?!\w)")
            lines = tuple(echoed.sub("***", line) for line in lines)
        return attrs.evolve(reply, lines=lines)


def choose(wanted: str, extensions: Extensions, *, inside_tls: bool) -> str:
    """The mechanism to use. Raises ``ConnectionFault`` where there is none."""
    offered = extensions.auth_mechanisms
    if not offered:
        raise ConnectionFault(Stage.AUTH, Fault.AUTH_NOT_OFFERED)
    usable = (_INSIDE_TLS if inside_tls else _IN_CLEAR) if wanted == "auto" else (wanted,)
    for mechanism in usable:
        if mechanism in offered:
            return mechanism
    names = ", ".join(name.upper() for name in offered)
    raise ConnectionFault(Stage.AUTH, Fault.AUTH_NO_COMMON_MECHANISM, f"offered: {names}")


async def sign_in(mechanism: str, credentials: Credentials, command: Command) -> None:
    """Run the exchange. Raises ``ServerRefused`` with the server's last word (and what XOAUTH2 told before it)."""
    first, answers = _exchange(mechanism, credentials)
    reply = await command(b"AUTH", mechanism.upper().encode(), *first)
    told = ""
    while reply.code == 334:
        answer = answers(reply)
        if answer is None:
            # RFC 4954 section 4 cancels with "*"; XOAUTH2 tells why it refuses here and wants an empty answer.
            told = told or _challenge_text(reply)
            answer = b"" if mechanism == "xoauth2" else b"*"
            reply = await command(answer)
            break
        reply = await command(answer)
    if reply.code != 235:
        reply = credentials.scrubbed(reply)
        if told:
            reply = attrs.evolve(reply, lines=(*reply.lines, told))
        raise ServerRefused(Stage.AUTH, reply)


def _exchange(mechanism: str, credentials: Credentials) -> tuple[tuple[bytes, ...], Callable[[Reply], bytes | None]]:
    """What goes with the AUTH command, and the answer to each challenge (``None``: there is none)."""
    username, password = credentials.username, credentials.password
    if mechanism == "plain":
        return (auth_plain_encode(username, password),), lambda reply: None
    if mechanism == "xoauth2":
        return (auth_xoauth2_encode(username, password),), lambda reply: None
    if mechanism == "login":
        lines: Iterator[bytes] = iter(auth_login_encode(username, password))
        return (), lambda reply: next(lines, None)
    pending = [True]

    def cram_md5(reply: Reply) -> bytes | None:
        if not pending:
            return None
        pending.clear()
        try:
            base64.b64decode(reply.text, validate=True)
        except (binascii.Error, ValueError):
            return None
        return auth_crammd5_verify(username, password, reply.text)

    return (), cram_md5


def _all_lines(credentials: Credentials) -> tuple[bytes, ...]:
    username, password = credentials.username, credentials.password
    return (auth_plain_encode(username, password), auth_xoauth2_encode(username, password))


def _challenge_text(reply: Reply) -> str:
    try:
        return clean_reply(base64.b64decode(reply.text, validate=True))
    except (binascii.Error, ValueError):
        return ""
