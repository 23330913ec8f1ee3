"""The server side of an SMTP conversation without any I/O: bytes in, replies out.

`Session.receive` buffers bytes and `Session.next_turn` cuts the next complete thing out of them: a command, a
continuation of AUTH, or the end of a message. A `Turn` carries the reply that a well-behaved server gives. Nothing has
changed yet: `Session.answer` applies the turn and returns the reply's bytes, and `Session.apply` applies it as if
another code had been said, which is how a scripted server stays in step with the lies it tells.

The driver owns sockets, clocks and TLS: when `wants_tls` turns true it makes the handshake and calls `tls_started`; when
`closed` turns true it writes what is left and closes.
"""

from __future__ import annotations

import enum
import hmac
import logging
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final

import attrs

from genie_connect.inbox.policy import Policy, Received
from genie_connect.inbox.reply import Reply
from genie_connect.inbox.sasl import (
    MECHANISMS,
    REFUSAL_CHALLENGES,
    Credentials,
    Exchange,
    SaslFault,
    decode_response,
    encode_challenge,
)
from genie_connect.inbox.syntax import PathArgument, SyntaxFault, parse_path

_log = logging.getLogger(__name__)

DEFAULT_EXTENSIONS: Final = frozenset(
    {"PIPELINING", "SIZE", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "CHUNKING"}
)
_END_OF_DATA: Final = b"\r\n.\r\n"
_MAX_AUTH_LINE_BYTES: Final = 12_288  # RFC 4954 section 4
_CONTROLS: Final = re.compile(rb"[\x00-\x1f\x7f]")


class State(enum.Enum):
    """Where the conversation stands."""

    REFUSED = "the greeting refused the client: only QUIT is answered"
    FRESH = "no EHLO yet, or none since TLS began"
    IDLE = "no mail transaction"
    ENVELOPE = "MAIL accepted"
    RECIPIENTS = "MAIL and at least one RCPT accepted"
    CHUNKS = "a BDAT chunk accepted, more to come"
    CHUNK = "inside the octets of a BDAT chunk"
    DATA = "inside the text that follows DATA"
    AUTH = "AUTH waits for the client's response"
    TLS = "STARTTLS accepted, handshake to come"
    CLOSED = "the server has said good-bye"


_GREETED: Final = frozenset({State.FRESH, State.IDLE, State.ENVELOPE, State.RECIPIENTS, State.CHUNKS})
_INTRODUCED: Final = _GREETED - {State.FRESH}


@attrs.frozen(kw_only=True)
class SessionSettings:
    """What the server offers and demands; sizes in bytes."""

    hostname: str = "localhost"
    extensions: frozenset[str] = DEFAULT_EXTENSIONS
    max_message_bytes: int = 25 * 1024 * 1024
    max_recipients: int = 100  # RFC 5321 section 4.5.3.1.8: no less
    max_command_line_bytes: int = 2048
    max_body_line_bytes: int = 998  # RFC 5321 section 4.5.3.1.6, without CR LF
    starttls: bool = False
    require_tls: bool = False
    auth_mechanisms: tuple[str, ...] = ()
    require_auth: bool = False
    allow_plaintext_auth: bool = False


@attrs.frozen(kw_only=True)
class Turn:
    """One thing the client did and the reply it is due.

    `stage` is one of banner, ehlo, helo, starttls, auth, mail, rcpt, data, bdat, final, rset, noop, vrfy, help, quit,
    unknown. `index` counts recipients tried in this transaction, or steps of one AUTH exchange. `pipelined` says that
    more bytes were already there when the line was cut.
    """

    stage: str
    reply: Reply
    line: bytes = b""
    index: int = 0
    pipelined: bool = False
    path: PathArgument | None = None
    credentials: Credentials | None = None
    message: Received | None = None


@attrs.frozen(kw_only=True)
class _Chunk:
    line: bytes
    remaining: int
    last: bool
    refusal: Reply | None


_OK: Final = Reply(250, "2.0.0", "ok")
_SYNTAX: Final = "5.5.4"


class Session:
    """The state machine of one connection."""

    def __init__(
        self,
        settings: SessionSettings,
        *,
        policy: Policy | None = None,
        credentials: Mapping[str, str] | None = None,
        peer: str = "127.0.0.1",
        tls: bool = False,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.settings = settings
        self.state = State.FRESH
        self.tls = tls
        self.auth_user: str | None = None
        self._policy = policy or Policy()
        self._credentials = credentials
        self._peer = peer
        self._now = now
        self._extended = False
        self._buffer = bytearray()
        self._skipping_line = False
        self._exchange: Exchange | None = None
        self._mechanism = ""
        self._auth_index = 0
        self._refused_credentials: Reply | None = None
        self._chunk: _Chunk | None = None
        self._content = bytearray()
        self._body_bytes = 0
        self._overflow = False
        self._clear_transaction()

    # What the driver asks.

    @property
    def wants_tls(self) -> bool:
        """True after STARTTLS was answered 220, until `tls_started` is called."""
        return self.state is State.TLS

    @property
    def closed(self) -> bool:
        """True once the server has ended the conversation."""
        return self.state is State.CLOSED

    @property
    def in_body(self) -> bool:
        """True while the client is sending message content."""
        return self.state in (State.DATA, State.CHUNK)

    @property
    def body_bytes_received(self) -> int:
        """Bytes of the present message's content seen so far, dot-stuffing included."""
        # The buffer starts with the two bytes that make the first line look like any other.
        return self._body_bytes + (len(self._buffer) - 2 if self.state is State.DATA else 0)

    # What the driver does.

    def greet(self) -> Turn:
        """Return the turn of the greeting; the driver answers it before it reads anything."""
        refusal = self._decide(self._policy.on_connect, self._peer)
        return Turn(stage="banner", reply=refusal or Reply(220, "", f"{self.settings.hostname} ESMTP Genie Connect"))

    def receive(self, data: bytes) -> None:
        """Take bytes from the client."""
        self._buffer += data

    def next_turn(self) -> Turn | None:
        """Return the next turn, or None when more bytes (or a TLS handshake) are needed first."""
        while True:
            if self.state in (State.CLOSED, State.TLS):
                return None
            if self.state is State.DATA:
                return self._take_data()
            if self.state is State.CHUNK:
                return self._take_chunk()
            line = self._take_line()
            if line is None:
                return None
            turn = line if isinstance(line, Turn) else self._read_line(line)
            if turn is not None:
                return turn

    def answer(self, turn: Turn) -> bytes:
        """Apply the turn and return its reply for the wire."""
        self.apply(turn, turn.reply.code)
        if turn.reply.code == 421:
            self.state = State.CLOSED
        return turn.reply.encode(with_enhanced="ENHANCEDSTATUSCODES" in self.settings.extensions)

    def apply(self, turn: Turn, code: int) -> None:
        """Change the state as the reply `code` to this turn demands; a code that says no changes nothing it need not."""
        effect = _EFFECTS.get(turn.stage)
        if effect is not None:
            effect(self, turn, code)

    def take_unread(self) -> bytes:
        """Return and forget the bytes that no turn has taken yet."""
        unread = bytes(self._buffer)
        self._buffer.clear()
        return unread

    def tls_started(self) -> None:
        """Begin anew inside TLS: everything the client said before is forgotten (RFC 3207 section 4.2)."""
        self._buffer.clear()
        self._clear_transaction()
        self.tls = True
        self._extended = False
        self.auth_user = None
        self.state = State.FRESH

    # Cutting the stream.

    def _take_line(self) -> bytes | Turn | None:
        end = self._buffer.find(b"\n")
        limit = _MAX_AUTH_LINE_BYTES if self._may_be_auth() else self.settings.max_command_line_bytes
        if end < 0:
            if len(self._buffer) > limit:
                # Only the fact that the line was too long is kept, so a line without end costs no memory.
                self._skipping_line = True
                self._buffer.clear()
            return None
        line = bytes(self._buffer[: end + 1])
        del self._buffer[: end + 1]
        if self._skipping_line or len(line) > limit:
            self._skipping_line = False
            return self._unknown(b"", Reply(500, "5.5.2", "line too long"))
        if not line.endswith(b"\r\n"):
            return self._unknown(line, Reply(500, "5.5.2", "lines end with CR LF, not with LF alone"))
        line = line[:-2]
        if _CONTROLS.search(line):
            return self._unknown(line, Reply(500, "5.5.2", "control character in the command line"))
        return line

    def _may_be_auth(self) -> bool:
        return self.state is State.AUTH or self._buffer[:5].upper() == b"AUTH "

    def _take_data(self) -> Turn | None:
        buffer = self._buffer
        end = buffer.find(_END_OF_DATA, self._scanned)
        if end < 0:
            self._scanned = max(0, len(buffer) - len(_END_OF_DATA) + 1)
            # Dot-stuffing at most doubles a message, so twice the limit is certainly too much.
            if len(buffer) > 2 * self.settings.max_message_bytes + len(_END_OF_DATA):
                self._overflow = True
                self._body_bytes += self._scanned
                del buffer[: self._scanned]
                self._scanned = 0
            return None
        content = bytes(buffer[: end + 2])
        self._body_bytes += len(content) - 2
        del buffer[: end + len(_END_OF_DATA)]
        return self._message_turn(b".", content.replace(b"\r\n.", b"\r\n")[2:])

    def _take_chunk(self) -> Turn | None:
        chunk = self._chunk
        assert chunk is not None
        taken = min(chunk.remaining, len(self._buffer))
        if taken:
            self._body_bytes += taken
            if chunk.refusal is None and len(self._content) + taken <= self.settings.max_message_bytes:
                self._content += self._buffer[:taken]
            elif chunk.refusal is None:
                self._overflow = True
                self._content.clear()
            del self._buffer[:taken]
            self._chunk = chunk = attrs.evolve(chunk, remaining=chunk.remaining - taken)
        if chunk.remaining:
            return None
        self.state = self._state_before_chunk
        if chunk.refusal is not None:
            return self._turn("bdat", chunk.line, chunk.refusal)
        if self._overflow:
            return self._turn("final" if chunk.last else "bdat", chunk.line, self._too_large())
        if chunk.last:
            return self._message_turn(chunk.line, bytes(self._content))
        return self._turn("bdat", chunk.line, Reply(250, "2.0.0", f"{len(self._content)} octets received"))

    # Commands.

    def _read_line(self, line: bytes) -> Turn | None:
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError:
            return self._unknown(line, Reply(500, "5.5.2", "the command line is not UTF-8"))
        if self.state is State.AUTH:
            return self._auth_step(line, text)
        verb, _, argument = text.partition(" ")
        command = _COMMANDS.get(verb.upper())
        if command is None:
            return self._unknown(line, Reply(500, "5.5.2", "command not recognised"))
        if self.state not in command.states and not command.consumes_octets:
            return self._turn(command.stage, line, _WRONG_STATE.get((command.stage, self.state), command.out_of_order))
        return command.handler(self, line, argument)

    def _ehlo(self, line: bytes, argument: str) -> Turn:
        if not argument.strip() or not argument.isascii():
            return self._turn("ehlo", line, Reply(501, _SYNTAX, "EHLO needs the name of the client"))
        return self._turn("ehlo", line, Reply(250, "", "\n".join([self.settings.hostname, *self.keywords()])))

    def keywords(self) -> list[str]:
        """Return the EHLO keywords offered at this moment, in a stable order."""
        settings = self.settings
        offered = sorted(settings.extensions)
        if "SIZE" in offered:
            offered[offered.index("SIZE")] = f"SIZE {settings.max_message_bytes}"
        if settings.starttls and not self.tls:
            offered.append("STARTTLS")
        if settings.auth_mechanisms and self._auth_allowed():
            offered.append("AUTH " + " ".join(settings.auth_mechanisms))
        return offered

    def _helo(self, line: bytes, argument: str) -> Turn:
        if not argument.strip() or not argument.isascii():
            return self._turn("helo", line, Reply(501, _SYNTAX, "HELO needs the name of the client"))
        return self._turn("helo", line, Reply(250, "", self.settings.hostname))

    def _starttls(self, line: bytes, argument: str) -> Turn:
        if argument:
            return self._turn("starttls", line, Reply(501, _SYNTAX, "STARTTLS takes no argument"))
        if not self.settings.starttls:
            return self._turn("starttls", line, Reply(502, "5.5.1", "STARTTLS is not offered here"))
        if self.tls:
            return self._turn("starttls", line, Reply(503, "5.5.1", "TLS is already active"))
        if self._buffer:
            # Bytes sent ahead of the handshake would be read as if they had come inside TLS (CVE-2011-0411).
            return self._turn("starttls", line, Reply(421, "4.7.0", "bytes follow STARTTLS before the handshake"))
        return self._turn("starttls", line, Reply(220, "2.0.0", "ready to start TLS"))

    def _auth(self, line: bytes, argument: str) -> Turn:
        mechanism, _, initial = argument.partition(" ")
        mechanism = mechanism.upper()
        self._auth_index = 0
        refusal = None
        if not self._extended or not self.settings.auth_mechanisms:
            refusal = Reply(502, "5.5.1", "AUTH is not offered here")
        elif self.auth_user is not None:
            refusal = Reply(503, "5.5.1", "already authenticated")
        elif not self._auth_allowed():
            refusal = Reply(538, "5.7.11", "encryption is required first: use STARTTLS")
        elif mechanism not in self.settings.auth_mechanisms:
            refusal = Reply(504, "5.5.4", "this mechanism is not offered")
        if refusal is not None:
            return self._turn("auth", line, refusal)
        self._mechanism = mechanism
        try:
            first = decode_response(initial) if initial else None
            self._exchange = MECHANISMS[mechanism](first)
            return self._challenge(line, next(self._exchange))
        except StopIteration as done:
            return self._check_credentials(line, done.value)
        except SaslFault as fault:
            return self._turn("auth", line, Reply(501, "5.5.2", str(fault)))

    def _auth_step(self, line: bytes, text: str) -> Turn:
        self._auth_index += 1
        if text == "*":
            return self._turn("auth", line, Reply(501, "5.7.0", "authentication cancelled by the client"))
        if self._refused_credentials is not None:
            return self._turn("auth", line, self._refused_credentials, index=self._auth_index)
        if self._exchange is None:
            # Only a script that said 334 on its own account leads here.
            return self._turn("auth", line, Reply(535, "5.7.8", "authentication failed"), index=self._auth_index)
        try:
            return self._challenge(line, self._exchange.send(decode_response(text)))
        except StopIteration as done:
            return self._check_credentials(line, done.value)
        except SaslFault as fault:
            return self._turn("auth", line, Reply(501, "5.5.2", str(fault)), index=self._auth_index)

    def _challenge(self, line: bytes, challenge: bytes) -> Turn:
        return self._turn("auth", line, Reply(334, "", encode_challenge(challenge)), index=self._auth_index)

    def _check_credentials(self, line: bytes, credentials: Credentials) -> Turn:
        reply = Reply(235, "2.7.0", "authenticated")
        if not self._is_listed(credentials):
            reply = Reply(535, "5.7.8", "username or password not accepted")
        else:
            reply = self._decide(self._policy.on_auth, credentials.username, credentials.password) or reply
        challenge = REFUSAL_CHALLENGES.get(self._mechanism)
        if reply.code >= 400 and challenge is not None:
            self._refused_credentials = reply
            reply = Reply(334, "", encode_challenge(challenge))
        return self._turn("auth", line, reply, index=self._auth_index, credentials=credentials)

    def _is_listed(self, credentials: Credentials) -> bool:
        if self._credentials is None:
            return True
        expected = self._credentials.get(credentials.username)
        return expected is not None and hmac.compare_digest(expected.encode(), credentials.password.encode())

    def _auth_allowed(self) -> bool:
        return self.tls or self.settings.allow_plaintext_auth

    def _mail(self, line: bytes, argument: str) -> Turn:
        if self.settings.require_tls and not self.tls:
            return self._turn("mail", line, Reply(530, "5.7.0", "must issue a STARTTLS command first"))
        if self.settings.require_auth and self.auth_user is None:
            return self._turn("mail", line, Reply(530, "5.7.0", "authentication required"))
        try:
            path = parse_path(argument, "FROM:")
        except SyntaxFault as fault:
            return self._turn("mail", line, Reply(501, "5.1.7", str(fault)))
        refusal = self._check_mail_parameters(path)
        reply = refusal or self._decide(self._policy.on_mail, path.address, self.auth_user)
        return self._turn("mail", line, reply or Reply(250, "2.1.0", "sender ok"), path=path)

    def _check_mail_parameters(self, path: PathArgument) -> Reply | None:
        if path.address and "@" not in path.address:
            return Reply(501, "5.1.7", "the sender is not local-part@domain")
        for keyword, value in path.parameters.items():
            check = _MAIL_PARAMETERS.get(keyword)
            if not self._extended or check is None or not check.offered(self.settings):
                return Reply(555, _SYNTAX, f"parameter {keyword} is not offered here")
            if not check.value.fullmatch("" if value is None else value):
                return Reply(501, _SYNTAX, f"the value of parameter {keyword} is not valid")
        size_bytes = path.parameters.get("SIZE")
        if size_bytes is not None and int(size_bytes) > self.settings.max_message_bytes:
            return self._too_large()
        if not path.address.isascii() and "SMTPUTF8" not in path.parameters:
            return Reply(553, "5.6.7", "a non-ASCII address needs the SMTPUTF8 parameter")
        return None

    def _rcpt(self, line: bytes, argument: str) -> Turn:
        index = self._recipients_tried
        try:
            path = parse_path(argument, "TO:")
        except SyntaxFault as fault:
            return self._turn("rcpt", line, Reply(501, "5.1.3", str(fault)), index=index)
        if not path.address:
            return self._turn("rcpt", line, Reply(501, "5.1.3", "a recipient is not empty"), index=index)
        reply: Reply | None = None
        if path.parameters:
            reply = Reply(555, _SYNTAX, f"parameter {next(iter(path.parameters))} is not offered here")
        elif not path.address.isascii() and not self._smtputf8:
            reply = Reply(553, "5.6.7", "a non-ASCII address needs SMTPUTF8 in MAIL")
        elif len(self._recipients) >= self.settings.max_recipients:
            reply = Reply(452, "4.5.3", "too many recipients, send the rest in another transaction")
        else:
            reply = self._decide(self._policy.on_rcpt, path.address, self._envelope_from)
        return self._turn("rcpt", line, reply or Reply(250, "2.1.5", "recipient ok"), index=index, path=path)

    def _data(self, line: bytes, argument: str) -> Turn:
        if argument:
            return self._turn("data", line, Reply(501, _SYNTAX, "DATA takes no argument"))
        return self._turn("data", line, Reply(354, "", "end data with <CR><LF>.<CR><LF>"))

    def _bdat(self, line: bytes, argument: str) -> Turn | None:
        if "CHUNKING" not in self.settings.extensions or not self._extended:
            return self._turn("bdat", line, Reply(502, "5.5.1", "CHUNKING is not offered here"))
        match = _BDAT_ARGUMENT.fullmatch(argument)
        if match is None:
            return self._turn("bdat", line, Reply(501, _SYNTAX, "expected BDAT size [LAST]"))
        # A chunk that is refused is still consumed: its octets are on their way (RFC 3030 section 2).
        refusal = None
        if self.state is State.ENVELOPE:
            refusal = Reply(554, "5.5.1", "no valid recipients")
        elif self.state not in (State.RECIPIENTS, State.CHUNKS):
            refusal = Reply(503, "5.5.1", "BDAT needs MAIL and RCPT first")
        self._state_before_chunk = self.state
        self._chunk = _Chunk(line=line, remaining=int(match[1]), last=match[2] is not None, refusal=refusal)
        self.state = State.CHUNK
        return self._take_chunk() if not self._chunk.remaining else None

    def _rset(self, line: bytes, argument: str) -> Turn:
        if argument:
            return self._turn("rset", line, Reply(501, _SYNTAX, "RSET takes no argument"))
        return self._turn("rset", line, _OK)

    def _noop(self, line: bytes, argument: str) -> Turn:
        return self._turn("noop", line, _OK)

    def _vrfy(self, line: bytes, argument: str) -> Turn:
        if not argument:
            return self._turn("vrfy", line, Reply(501, _SYNTAX, "VRFY needs an address"))
        return self._turn("vrfy", line, Reply(252, "2.5.0", "cannot verify, but will take a message"))

    def _help(self, line: bytes, argument: str) -> Turn:
        return self._turn("help", line, Reply(214, "2.0.0", "this server is described in RFC 5321"))

    def _quit(self, line: bytes, argument: str) -> Turn:
        return self._turn("quit", line, Reply(221, "2.0.0", f"{self.settings.hostname} closing connection"))

    # Messages.

    def _message_turn(self, line: bytes, content: bytes) -> Turn:
        message = Received(
            envelope_from=self._envelope_from,
            recipients=tuple(self._recipients),
            data=content,
            smtputf8=self._smtputf8,
            body=self._body,
            auth_user=self.auth_user,
            tls=self.tls,
            received_at=self._now(),
        )
        reply = self._check_content(content) or self._decide(self._policy.on_message, message)
        return self._turn("final", line, reply or Reply(250, "2.0.0", "message accepted"), message=message)

    def _check_content(self, content: bytes) -> Reply | None:
        if self._overflow or len(content) > self.settings.max_message_bytes:
            return self._too_large()
        if not content.count(b"\r\n") == content.count(b"\n") == content.count(b"\r"):
            # RFC 5321 section 2.3.8; a lone CR or LF is how one message is smuggled inside another.
            return Reply(554, "5.6.0", "CR or LF on its own in the message, lines end with CR LF")
        if len(content) > self.settings.max_body_line_bytes and self._longest_line_bytes(content) > (
            self.settings.max_body_line_bytes
        ):
            return Reply(554, "5.6.0", f"a line is longer than {self.settings.max_body_line_bytes} octets")
        if self._body != "8BITMIME" and not self._smtputf8 and not content.isascii():
            return Reply(554, "5.6.1", "8-bit content needs BODY=8BITMIME in MAIL")
        return None

    @staticmethod
    def _longest_line_bytes(content: bytes) -> int:
        return max(map(len, content.split(b"\r\n")))

    def _too_large(self) -> Reply:
        return Reply(552, "5.3.4", f"the message is larger than {self.settings.max_message_bytes} bytes")

    # Effects, applied when a reply is given.

    def _effect_banner(self, turn: Turn, code: int) -> None:
        self.state = State.FRESH if code == 220 else State.REFUSED

    def _effect_hello(self, turn: Turn, code: int) -> None:
        if code // 100 == 2:
            self._clear_transaction()
            self._extended = turn.stage == "ehlo"
            self.state = State.IDLE

    def _effect_starttls(self, turn: Turn, code: int) -> None:
        if code == 220:
            self._buffer.clear()
            self.state = State.TLS
        elif code == 421:
            self.state = State.CLOSED

    def _effect_auth(self, turn: Turn, code: int) -> None:
        if code == 334:
            self.state = State.AUTH
            return
        if code == 235:
            self.auth_user = turn.credentials.username if turn.credentials else ""
        self._exchange = None
        self._refused_credentials = None
        if self.state is State.AUTH:
            self.state = State.IDLE

    def _effect_mail(self, turn: Turn, code: int) -> None:
        if code // 100 == 2:
            path = turn.path
            self._envelope_from = path.address if path else ""
            self._body = (path.parameters.get("BODY") or "7BIT").upper() if path else "7BIT"
            self._smtputf8 = path is not None and "SMTPUTF8" in path.parameters
            self.state = State.ENVELOPE

    def _effect_rcpt(self, turn: Turn, code: int) -> None:
        self._recipients_tried += 1
        if code // 100 == 2:
            if turn.path is not None:
                self._recipients.append(turn.path.address)
            self.state = State.RECIPIENTS

    def _effect_data(self, turn: Turn, code: int) -> None:
        if code == 354:
            # The line end of DATA itself is the one before a first line that is a lone dot.
            self._buffer[:0] = b"\r\n"
            self._scanned = 0
            self.state = State.DATA

    def _effect_chunk(self, turn: Turn, code: int) -> None:
        if code // 100 == 2:
            self.state = State.CHUNKS
        elif self._chunk is not None:
            # RFC 3030 section 2: after a failed chunk the transaction is over.
            self._end_transaction()

    def _effect_end(self, turn: Turn, code: int) -> None:
        self._end_transaction()

    def _effect_rset(self, turn: Turn, code: int) -> None:
        if code // 100 == 2:
            self._end_transaction()

    def _effect_quit(self, turn: Turn, code: int) -> None:
        if code == 221:
            self.state = State.CLOSED

    def _end_transaction(self) -> None:
        self._clear_transaction()
        if self.state is not State.FRESH:
            self.state = State.IDLE

    def _clear_transaction(self) -> None:
        self._envelope_from = ""
        self._recipients: list[str] = []
        self._recipients_tried = 0
        self._body = "7BIT"
        self._smtputf8 = False
        self._chunk = None
        self._state_before_chunk = State.IDLE
        self._content = bytearray()
        self._body_bytes = 0
        self._overflow = False
        self._scanned = 0

    # Small helpers.

    def _turn(
        self,
        stage: str,
        line: bytes,
        reply: Reply,
        *,
        index: int = 0,
        path: PathArgument | None = None,
        credentials: Credentials | None = None,
        message: Received | None = None,
    ) -> Turn:
        return Turn(
            stage=stage,
            reply=reply,
            line=line,
            index=index,
            pipelined=bool(self._buffer),
            path=path,
            credentials=credentials,
            message=message,
        )

    def _unknown(self, line: bytes, reply: Reply) -> Turn:
        if self.state is State.AUTH:
            return self._turn("auth", line, attrs.evolve(reply, code=501))
        return self._turn("unknown", line, reply)

    def _decide(self, question: Callable[..., Reply | None], *arguments: object) -> Reply | None:
        try:
            return question(*arguments)
        except Exception:
            # A host's policy must not take the server down with it; the client is told to come back.
            _log.exception("the policy failed in %s", getattr(question, "__name__", "a hook"))
            return Reply(451, "4.3.0", "local error in processing")


_BDAT_ARGUMENT: Final = re.compile(r"([0-9]{1,18})( LAST)?", re.IGNORECASE)


@attrs.frozen(kw_only=True)
class _Command:
    stage: str
    handler: Callable[[Session, bytes, str], Turn | None]
    states: frozenset[State]
    out_of_order: Reply = Reply(503, "5.5.1", "EHLO or HELO first")
    consumes_octets: bool = False


@attrs.frozen(kw_only=True)
class _MailParameter:
    value: re.Pattern[str]
    offered: Callable[[SessionSettings], bool]


_COMMANDS: Mapping[str, _Command] = MappingProxyType(
    {
        "EHLO": _Command(stage="ehlo", handler=Session._ehlo, states=_GREETED),
        "HELO": _Command(stage="helo", handler=Session._helo, states=_GREETED),
        "STARTTLS": _Command(
            stage="starttls",
            handler=Session._starttls,
            states=frozenset({State.IDLE}),
            out_of_order=Reply(503, "5.5.1", "STARTTLS comes after EHLO and outside a mail transaction"),
        ),
        "AUTH": _Command(
            stage="auth",
            handler=Session._auth,
            states=frozenset({State.IDLE}),
            out_of_order=Reply(503, "5.5.1", "AUTH comes after EHLO and outside a mail transaction"),
        ),
        "MAIL": _Command(
            stage="mail",
            handler=Session._mail,
            states=frozenset({State.IDLE}),
            out_of_order=Reply(503, "5.5.1", "MAIL comes after EHLO and outside a mail transaction"),
        ),
        "RCPT": _Command(
            stage="rcpt",
            handler=Session._rcpt,
            states=frozenset({State.ENVELOPE, State.RECIPIENTS}),
            out_of_order=Reply(503, "5.5.1", "MAIL first"),
        ),
        "DATA": _Command(
            stage="data",
            handler=Session._data,
            states=frozenset({State.RECIPIENTS}),
            out_of_order=Reply(503, "5.5.1", "DATA needs MAIL and RCPT first, and no BDAT"),
        ),
        "BDAT": _Command(stage="bdat", handler=Session._bdat, states=_INTRODUCED, consumes_octets=True),
        "RSET": _Command(stage="rset", handler=Session._rset, states=_GREETED),
        "NOOP": _Command(stage="noop", handler=Session._noop, states=_GREETED),
        "VRFY": _Command(stage="vrfy", handler=Session._vrfy, states=_GREETED),
        "HELP": _Command(stage="help", handler=Session._help, states=_GREETED),
        "QUIT": _Command(stage="quit", handler=Session._quit, states=_GREETED | {State.REFUSED}),
    }
)

_WRONG_STATE: Mapping[tuple[str, State], Reply] = MappingProxyType(
    {
        ("data", State.ENVELOPE): Reply(554, "5.5.1", "no valid recipients"),
        ("starttls", State.FRESH): Reply(503, "5.5.1", "EHLO first"),
        ("auth", State.FRESH): Reply(503, "5.5.1", "EHLO first"),
        ("mail", State.FRESH): Reply(503, "5.5.1", "EHLO or HELO first"),
    }
)

_MAIL_PARAMETERS: Mapping[str, _MailParameter] = MappingProxyType(
    {
        "SIZE": _MailParameter(value=re.compile("[0-9]{1,20}"), offered=lambda s: "SIZE" in s.extensions),
        "BODY": _MailParameter(
            value=re.compile("7BIT|8BITMIME", re.IGNORECASE), offered=lambda s: "8BITMIME" in s.extensions
        ),
        "SMTPUTF8": _MailParameter(value=re.compile(""), offered=lambda s: "SMTPUTF8" in s.extensions),
        # RFC 4954 section 5: a server that offers AUTH takes the parameter; this one trusts no such claim.
        "AUTH": _MailParameter(value=re.compile(".+"), offered=lambda s: bool(s.auth_mechanisms)),
    }
)

_EFFECTS: Mapping[str, Callable[[Session, Turn, int], None]] = MappingProxyType(
    {
        "banner": Session._effect_banner,
        "ehlo": Session._effect_hello,
        "helo": Session._effect_hello,
        "starttls": Session._effect_starttls,
        "auth": Session._effect_auth,
        "mail": Session._effect_mail,
        "rcpt": Session._effect_rcpt,
        "data": Session._effect_data,
        "bdat": Session._effect_chunk,
        "final": Session._effect_end,
        "rset": Session._effect_rset,
        "quit": Session._effect_quit,
    }
)
