"""The server side of an SMTP conversation without any I/O: bytes in, replies out.

`Session.receive` takes bytes and `Session.next_turn` cuts the next complete thing out of them: a command, a response of
AUTH, or the end of a message. A `Turn` carries the reply that a well-behaved server gives, and nothing has changed yet:
`Session.answer` applies the turn and returns the reply's bytes, while `Session.apply` applies it as if another code had
been said, which is how a scripted server stays in step with the lies it tells.

The driver owns sockets and TLS: when `wants_tls` turns true it makes the handshake and calls `tls_started`; when
`closed` turns true it writes what is left and closes.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import ClassVar, Final, TypeVarTuple

import attrs

from genie_connect.inbox.authentication import Authentication, AuthStep
from genie_connect.inbox.commands import BDAT_ARGUMENT, CHUNK_RULE, COMMAND_RULES, MAIL_PARAMETERS
from genie_connect.inbox.framing import Content, Framer, LineFault
from genie_connect.inbox.policy import Policy, Received
from genie_connect.inbox.reply import Reply
from genie_connect.inbox.sasl import Credentials
from genie_connect.inbox.syntax import PathArgument, SyntaxFault, parse_path
from genie_connect.inbox.transaction import Chunk, Transaction, too_large
from genie_connect.inbox.turn import SessionSettings, State, Turn

_log = logging.getLogger(__name__)

_MAX_AUTH_LINE_BYTES: Final = 12_288  # RFC 4954 section 4

_Arguments = TypeVarTuple("_Arguments")


class Session:
    """The state machine of one connection."""

    def __init__(
        self,
        settings: SessionSettings,
        *,
        policy: Policy | None = None,
        credentials: Mapping[str, str] | None = None,
        peer: str = "",
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
        self._inbound = Framer()
        self._transaction = Transaction()
        self._authentication: Authentication | None = None
        self._chunk: Chunk | None = None

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
        """Bytes of the present (or last) message's content seen so far, dot-stuffing included."""
        return self._inbound.content_bytes

    def greet(self) -> Turn:
        """Return the turn of the greeting; the driver answers it before it reads anything."""
        refusal = self._ask_policy(self._policy.on_connect, self._peer)
        return Turn(stage="banner", reply=refusal or Reply(220, "", f"{self.settings.hostname} ESMTP Genie Connect"))

    def receive(self, data: bytes) -> None:
        """Take bytes from the client."""
        self._inbound.receive(data)

    def take_unread(self) -> bytes:
        """Return and forget the bytes that no turn has taken yet."""
        return self._inbound.clear()

    def next_turn(self) -> Turn | None:
        """Return the next turn, or None when more bytes (or a TLS handshake) are needed first."""
        if self.state in (State.CLOSED, State.TLS):
            return None
        if self.state is State.DATA:
            content = self._inbound.take_text(self.settings.max_message_bytes)
            return None if content is None else self._message_turn(b".", content)
        if self.state is State.CHUNK:
            return self._continue_chunk()
        line = self._inbound.take_line(self._max_line_bytes())
        if isinstance(line, LineFault):
            return self._line_fault(line)
        return None if line is None else self._read_line(line)

    def answer(self, turn: Turn) -> bytes:
        """Apply the turn and return its reply for the wire."""
        self.apply(turn, turn.reply.code)
        if turn.reply.code == 421:
            self.state = State.CLOSED
        return self.encode(turn.reply)

    def apply(self, turn: Turn, code: int) -> None:
        """Change the state as the reply `code` to this turn demands."""
        effect = self._EFFECTS.get(turn.stage)
        if effect is not None:
            effect(self, turn, code)

    def encode(self, reply: Reply) -> bytes:
        """Return a reply for the wire, with its enhanced status code if those are offered."""
        return reply.encode(with_enhanced="ENHANCEDSTATUSCODES" in self.settings.extensions)

    def tls_started(self) -> None:
        """Begin anew inside TLS: everything the client said before is forgotten (RFC 3207 section 4.2)."""
        self._inbound.clear()
        self._transaction = Transaction()
        self._extended = False
        self.tls = True
        self.auth_user = None
        self.state = State.FRESH

    # Reading.

    def _max_line_bytes(self) -> int:
        if self.state is State.AUTH or self._inbound.starts_with(b"AUTH "):
            return _MAX_AUTH_LINE_BYTES
        return self.settings.max_command_line_bytes

    def _line_fault(self, fault: LineFault) -> Turn:
        if self.state is State.AUTH:
            return self._turn("auth", fault.line, Reply(501, "5.5.2", fault.problem))
        return self._turn("unknown", fault.line, Reply(500, "5.5.2", fault.problem))

    def _read_line(self, line: bytes) -> Turn | None:
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError:
            return self._line_fault(LineFault(line=line, problem="the line is not UTF-8"))
        if self.state is State.AUTH:
            return self._auth_step(line, text)
        verb, _, argument = text.partition(" ")
        verb = verb.upper()
        rule = COMMAND_RULES.get(verb)
        if rule is None:
            return self._turn("unknown", line, Reply(500, "5.5.2", "command not recognised"))
        refusal = rule.refusal(self.state)
        if refusal is not None:
            index = self._transaction.recipients_tried if verb == "RCPT" else 0
            return self._turn(verb.lower(), line, refusal, index=index)
        return self._HANDLERS[verb](self, line, argument)

    # Commands.

    def _ehlo(self, line: bytes, argument: str) -> Turn:
        if not argument.strip() or not argument.isascii():
            return self._turn("ehlo", line, Reply(501, "5.5.4", "EHLO needs the name of the client"))
        keywords = self.settings.keywords(tls=self.tls)
        return self._turn("ehlo", line, Reply(250, "", "\n".join([self.settings.hostname, *keywords])))

    def _helo(self, line: bytes, argument: str) -> Turn:
        if not argument.strip() or not argument.isascii():
            return self._turn("helo", line, Reply(501, "5.5.4", "HELO needs the name of the client"))
        return self._turn("helo", line, Reply(250, "", self.settings.hostname))

    def _starttls(self, line: bytes, argument: str) -> Turn:
        if argument:
            reply = Reply(501, "5.5.4", "STARTTLS takes no argument")
        elif not self.settings.starttls:
            reply = Reply(502, "5.5.1", "STARTTLS is not offered here")
        elif self.tls:
            reply = Reply(503, "5.5.1", "TLS is already active")
        elif len(self._inbound):
            # Bytes sent ahead of the handshake would be read as if they had come inside TLS (CVE-2011-0411).
            reply = Reply(421, "4.7.0", "bytes follow STARTTLS before the handshake")
        else:
            reply = Reply(220, "2.0.0", "ready to start TLS")
        return self._turn("starttls", line, reply)

    def _auth(self, line: bytes, argument: str) -> Turn:
        mechanism, _, initial = argument.partition(" ")
        mechanism = mechanism.upper()
        refusal = None
        if not self._extended or not self.settings.auth_mechanisms:
            refusal = Reply(502, "5.5.1", "AUTH is not offered here")
        elif self.auth_user is not None:
            refusal = Reply(503, "5.5.1", "already authenticated")
        elif not self.tls and not self.settings.allow_plaintext_auth:
            refusal = Reply(538, "5.7.11", "encryption is required first: use STARTTLS")
        elif mechanism not in self.settings.auth_mechanisms:
            refusal = Reply(504, "5.5.4", "this mechanism is not offered")
        if refusal is not None:
            return self._turn("auth", line, refusal)
        self._authentication = Authentication(mechanism, self._judge)
        return self._auth_turn(line, self._authentication.begin(initial), index=0)

    def _auth_step(self, line: bytes, text: str) -> Turn:
        if self._authentication is None:
            # Only a script that said 334 on its own account leads here.
            return self._turn("auth", line, Reply(535, "5.7.8", "authentication failed"), index=1)
        step = self._authentication.step(text)
        return self._auth_turn(line, step, index=self._authentication.index)

    def _auth_turn(self, line: bytes, step: AuthStep, *, index: int) -> Turn:
        return self._turn("auth", line, step.reply, index=index, credentials=step.credentials)

    def _judge(self, credentials: Credentials) -> Reply:
        if self._credentials is not None:
            expected = self._credentials.get(credentials.username)
            if expected is None or not hmac.compare_digest(expected.encode(), credentials.password.encode()):
                return Reply(535, "5.7.8", "username or password not accepted")
        refusal = self._ask_policy(self._policy.on_auth, credentials.username, credentials.password)
        return refusal or Reply(235, "2.7.0", "authenticated")

    def _mail(self, line: bytes, argument: str) -> Turn:
        if self.settings.require_tls and not self.tls:
            return self._turn("mail", line, Reply(530, "5.7.0", "must issue a STARTTLS command first"))
        if self.settings.require_auth and self.auth_user is None:
            return self._turn("mail", line, Reply(530, "5.7.0", "authentication required"))
        try:
            path = parse_path(argument, "FROM:")
        except SyntaxFault as fault:
            return self._turn("mail", line, Reply(501, "5.1.7", str(fault)))
        refusal = self._check_mail(path)
        reply = refusal or self._ask_policy(self._policy.on_mail, path.address, self.auth_user)
        return self._turn("mail", line, reply or Reply(250, "2.1.0", "sender ok"), path=path)

    def _check_mail(self, path: PathArgument) -> Reply | None:
        if path.address and "@" not in path.address:
            return Reply(501, "5.1.7", "the sender is not local-part@domain")
        for keyword, value in path.parameters.items():
            parameter = MAIL_PARAMETERS.get(keyword)
            if not self._extended or parameter is None or not parameter.offered(self.settings):
                return Reply(555, "5.5.4", f"parameter {keyword} is not offered here")
            if not parameter.value.fullmatch(value or ""):
                return Reply(501, "5.5.4", f"the value of parameter {keyword} is not valid")
        size_bytes = path.parameters.get("SIZE")
        if size_bytes is not None and int(size_bytes) > self.settings.max_message_bytes:
            return too_large(self.settings)
        if not path.address.isascii() and "SMTPUTF8" not in path.parameters:
            return Reply(553, "5.6.7", "a non-ASCII address needs the SMTPUTF8 parameter")
        return None

    def _rcpt(self, line: bytes, argument: str) -> Turn:
        index = self._transaction.recipients_tried
        try:
            path = parse_path(argument, "TO:")
        except SyntaxFault as fault:
            return self._turn("rcpt", line, Reply(501, "5.1.3", str(fault)), index=index)
        refusal = self._check_rcpt(path)
        reply = refusal or self._ask_policy(self._policy.on_rcpt, path.address, self._transaction.envelope_from)
        return self._turn("rcpt", line, reply or Reply(250, "2.1.5", "recipient ok"), index=index, path=path)

    def _check_rcpt(self, path: PathArgument) -> Reply | None:
        if not path.address:
            return Reply(501, "5.1.3", "a recipient is not empty")
        if path.parameters:
            return Reply(555, "5.5.4", f"parameter {next(iter(path.parameters))} is not offered here")
        if not path.address.isascii() and not self._transaction.smtputf8:
            return Reply(553, "5.6.7", "a non-ASCII address needs SMTPUTF8 in MAIL")
        if len(self._transaction.recipients) >= self.settings.max_recipients:
            return Reply(452, "4.5.3", "too many recipients, send the rest in another transaction")
        return None

    def _data(self, line: bytes, argument: str) -> Turn:
        if argument:
            return self._turn("data", line, Reply(501, "5.5.4", "DATA takes no argument"))
        return self._turn("data", line, Reply(354, "", "end data with <CR><LF>.<CR><LF>"))

    def _bdat(self, line: bytes, argument: str) -> Turn | None:
        if not self._extended or "CHUNKING" not in self.settings.extensions:
            return self._turn("bdat", line, Reply(502, "5.5.1", "CHUNKING is not offered here"))
        match = BDAT_ARGUMENT.fullmatch(argument)
        if match is None:
            return self._turn("bdat", line, Reply(501, "5.5.4", "expected BDAT size [LAST]"))
        if self.state is not State.CHUNKS:
            self._inbound.begin_content()
        self._chunk = Chunk(
            line=line,
            remaining=int(match[1]),
            last=match[2] is not None,
            # A chunk that is refused is still consumed: its octets are on their way (RFC 3030 section 2).
            refusal=CHUNK_RULE.refusal(self.state),
        )
        self.state = State.CHUNK
        return self._continue_chunk()

    def _continue_chunk(self) -> Turn | None:
        chunk, transaction = self._chunk, self._transaction
        if chunk is None:
            raise AssertionError("the state CHUNK is entered with a chunk")
        octets = self._inbound.take_octets(chunk.remaining)
        if chunk.refusal is None:
            transaction.add_octets(octets, self.settings.max_message_bytes)
        self._chunk = chunk = attrs.evolve(chunk, remaining=chunk.remaining - len(octets))
        if chunk.remaining:
            return None
        if chunk.last and chunk.refusal is None:
            return self._message_turn(chunk.line, transaction.content())
        refusal = chunk.refusal or (too_large(self.settings) if transaction.truncated else None)
        return self._turn("bdat", chunk.line, refusal or Reply(250, "2.0.0", "chunk received"))

    def _message_turn(self, line: bytes, content: Content) -> Turn:
        message = self._transaction.received(content, auth_user=self.auth_user, tls=self.tls, received_at=self._now())
        refusal = self._transaction.check(content, self.settings)
        reply = refusal or self._ask_policy(self._policy.on_message, message)
        return self._turn("final", line, reply or Reply(250, "2.0.0", "message accepted"), message=message)

    def _rset(self, line: bytes, argument: str) -> Turn:
        if argument:
            return self._turn("rset", line, Reply(501, "5.5.4", "RSET takes no argument"))
        return self._turn("rset", line, Reply(250, "2.0.0", "ok"))

    def _noop(self, line: bytes, argument: str) -> Turn:
        return self._turn("noop", line, Reply(250, "2.0.0", "ok"))

    def _vrfy(self, line: bytes, argument: str) -> Turn:
        if not argument:
            return self._turn("vrfy", line, Reply(501, "5.5.4", "VRFY needs an address"))
        return self._turn("vrfy", line, Reply(252, "2.5.0", "cannot verify, but will take a message"))

    def _help(self, line: bytes, argument: str) -> Turn:
        return self._turn("help", line, Reply(214, "2.0.0", "this server speaks RFC 5321"))

    def _quit(self, line: bytes, argument: str) -> Turn:
        return self._turn("quit", line, Reply(221, "2.0.0", f"{self.settings.hostname} closing connection"))

    # Effects of a reply.

    def _greeted(self, turn: Turn, code: int) -> None:
        self.state = State.FRESH if code == 220 else State.REFUSED

    def _introduced(self, turn: Turn, code: int) -> None:
        if code // 100 == 2:
            self._transaction = Transaction()
            self._extended = turn.stage == "ehlo"
            self.state = State.IDLE

    def _tls_agreed(self, turn: Turn, code: int) -> None:
        if code == 220:
            self._inbound.clear()
            self.state = State.TLS

    def _auth_answered(self, turn: Turn, code: int) -> None:
        if code == 334:
            self.state = State.AUTH
            return
        if code == 235:
            self.auth_user = turn.credentials.username if turn.credentials else ""
        self._authentication = None
        if self.state is State.AUTH:
            self.state = State.IDLE

    def _sender_answered(self, turn: Turn, code: int) -> None:
        if code // 100 == 2:
            self._transaction = Transaction()
            if turn.path is not None:
                self._transaction.begin(turn.path)
            self.state = State.ENVELOPE

    def _recipient_answered(self, turn: Turn, code: int) -> None:
        self._transaction.recipients_tried += 1
        if code // 100 == 2:
            if turn.path is not None:
                self._transaction.recipients.append(turn.path.address)
            self.state = State.RECIPIENTS

    def _data_answered(self, turn: Turn, code: int) -> None:
        if code == 354:
            self._inbound.begin_text()
            self.state = State.DATA

    def _chunk_answered(self, turn: Turn, code: int) -> None:
        if self.state is not State.CHUNK:
            return
        if code // 100 == 2:
            self.state = State.CHUNKS
        else:
            # RFC 3030 section 2: a failed chunk ends the transaction.
            self._end_transaction(turn, code)

    def _end_transaction(self, turn: Turn, code: int) -> None:
        self._transaction = Transaction()
        self._chunk = None
        self.state = State.IDLE

    def _reset(self, turn: Turn, code: int) -> None:
        if code // 100 == 2 and self.state is not State.FRESH:
            self._end_transaction(turn, code)

    def _closing(self, turn: Turn, code: int) -> None:
        if code == 221:
            self.state = State.CLOSED

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
            pipelined=len(self._inbound) > 0,
            path=path,
            credentials=credentials,
            message=message,
        )

    def _ask_policy(self, question: Callable[[*_Arguments], Reply | None], *arguments: *_Arguments) -> Reply | None:
        try:
            return question(*arguments)
        except Exception:  # noqa: BLE001 - a host's policy must not take the server down with it
            _log.exception("the policy failed; the client is told to come back")
            return Reply(451, "4.3.0", "local error in processing")

    _HANDLERS: ClassVar[Mapping[str, Callable[[Session, bytes, str], Turn | None]]] = MappingProxyType(
        {
            "EHLO": _ehlo,
            "HELO": _helo,
            "STARTTLS": _starttls,
            "AUTH": _auth,
            "MAIL": _mail,
            "RCPT": _rcpt,
            "DATA": _data,
            "BDAT": _bdat,
            "RSET": _rset,
            "NOOP": _noop,
            "VRFY": _vrfy,
            "HELP": _help,
            "QUIT": _quit,
        }
    )

    _EFFECTS: ClassVar[Mapping[str, Callable[[Session, Turn, int], None]]] = MappingProxyType(
        {
            "banner": _greeted,
            "ehlo": _introduced,
            "helo": _introduced,
            "starttls": _tls_agreed,
            "auth": _auth_answered,
            "mail": _sender_answered,
            "rcpt": _recipient_answered,
            "data": _data_answered,
            "bdat": _chunk_answered,
            "final": _end_transaction,
            "rset": _reset,
            "quit": _closing,
        }
    )
