"""What a connector says to an SMTP server: only what the server offers, in order, and as RFC 5321 has it.

PYTEST_DONT_REWRITE: each assertion says itself what is wrong.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final

import attrs

from genie_connect.errors import SettingsError
from genie_connect.model.capability import CapabilityTable, Level
from genie_connect.model.outcome import State
from genie_connect_spec.kit import traffic
from genie_connect_spec.kit.check import Force, check, needs
from genie_connect_spec.kit.conversation import PLAIN, exchange, offers, only_if, readers, server_of
from genie_connect_spec.kit.letters import batch_of, letter
from genie_connect_spec.kit.rig import GRACE_S, Rig
from genie_connect_spec.smtp_record import ConnectionRecord
from genie_connect_spec.smtp_script import Answer, Garbage, Hang, Reply421, Say, ehlo_reply, on

SENDS: Final = ("GC-SEND-001",)
_DOMAIN: Final = re.compile(
    r"(?i)EHLO ([a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*|\[[^\]\s]+\])\Z"
)
_LONGEST_LINE_BYTES: Final = 998
_UTF8: Final = "Grüße, 你好, שלום 🐘"


@check("GC-SMTP-001", after=SENDS)
async def it_greets_with_a_name(rig: Rig) -> None:
    """A server that asks for a name refuses whoever gives none (RFC 5321 section 4.1.1.1)."""
    seen = await exchange(rig)
    first = seen.commands[0]
    assert first.stage == "ehlo", f"the first command is {first.stage.upper()}, not EHLO"
    assert _DOMAIN.match(seen.lines("ehlo")[0]), f"{seen.lines('ehlo')[0]!r} gives neither a domain nor an address"


@check("GC-SMTP-002", after=SENDS)
async def it_signs_in_as_the_server_offers(rig: Rig) -> None:
    """With the mechanism that is there, and with the credentials of the settings."""
    needs(rig.canaries, "its settings hold no secret")
    for mechanism in ("PLAIN", "LOGIN"):
        seen = await exchange(rig, [on("ehlo", Say(ehlo_reply(f"AUTH {mechanism}")))])
        said = seen.lines("auth")
        assert said, "its settings hold a password, and it does not sign in"
        assert said[0].upper().split()[1] == mechanism, f"the server offers {mechanism}, and it says {said[0][:12]!r}"
        words = b" ".join(_decoded(word) for line in said for word in line.split())
        assert rig.canaries[0].encode() in words, f"the password does not leave with {mechanism}"
        assert seen.outcomes[0].state is State.ACCEPTED, (
            f"signed in with {mechanism}, and the outcome is {seen.outcomes[0]}"
        )


def _decoded(word: str) -> bytes:
    try:
        return base64.b64decode(word, validate=True)
    except (binascii.Error, ValueError):
        return b""


@check("GC-SMTP-003", after=("GC-SMTP-002",))
async def it_sends_nothing_unsigned(rig: Rig) -> None:
    """A server that offers no sign-in, or none that is known here, is the wrong one or not itself."""
    for keywords in ((), ("AUTH X-KIT",)):
        seen = await exchange(rig, [on("ehlo", Say(ehlo_reply(*keywords)))])
        outcome = seen.outcomes[0]
        assert not seen.taken, "its settings hold a password, the server offers no sign-in, and it sent all the same"
        assert not seen.lines("auth"), "it signs in by a mechanism that the server does not offer"
        assert outcome.state is State.DEFERRED, f"it could not sign in, and the outcome is {outcome.state}"
        assert outcome.reason == "auth", f"it could not sign in, and the reason is {outcome.reason}"


@check("GC-SMTP-004", after=("GC-SMTP-002",))
async def a_refused_password_is_tried_once(rig: Rig) -> None:
    """Servers lock accounts after a few wrong passwords: a batch must not be enough for that."""
    seen = await exchange(rig, [on("auth", Say(b"535 5.7.8 user name or password is wrong\r\n"))], copies=20)
    tries = sum(line.upper().startswith("AUTH") for line in seen.lines("auth"))
    assert tries == 1, f"the password is refused, and was tried {tries} times in one send"


@check("GC-SMTP-005", after=SENDS)
async def nothing_is_asked_that_is_not_offered(rig: Rig) -> None:
    """Parameters of MAIL that a server does not know are a refusal by that server (RFC 5321 section 4.1.1.11)."""
    seen = await exchange(rig, [on("ehlo", PLAIN)], message=letter("reader00@example.com", subject=_UTF8, text=_UTF8))
    assert seen.outcomes[0].state is State.ACCEPTED, f"a server without extensions took it: {seen.outcomes[0]}"
    odd = [line for line in (*seen.lines("mail"), *seen.lines("rcpt")) if line.partition(">")[2].strip()]
    assert not odd, f"the server offers nothing of the kind, and it says {odd[0]!r}"
    assert not seen.lines("bdat"), "the server does not offer CHUNKING, and it says BDAT"


@check("GC-SMTP-006", after=SENDS)
async def commands_wait_where_they_have_to(rig: Rig) -> None:
    """Without PIPELINING each command waits for the answer to the one before (RFC 2920)."""
    for keywords in ((), ("SIZE", "8BITMIME", "SMTPUTF8", "CHUNKING")):
        seen = await exchange(rig, [offers(*keywords)], copies=18)
        ahead = [command.stage for command in seen.commands if command.pipelined]
        assert not ahead, f"the server does not offer PIPELINING, and {ahead[0].upper()} came before it had answered"
        seen.agree()


@check("GC-SMTP-007", after=SENDS)
async def eight_bits_only_where_they_are_offered(rig: Rig) -> None:
    """A server without 8BITMIME takes ASCII (RFC 6152); with it, it is told where there is more."""
    message = letter("reader00@example.com", subject=_UTF8, text=_UTF8)
    seen = await exchange(rig, [offers("PIPELINING", "SIZE")], message=message)
    assert seen.first.data.isascii(), "the server does not offer 8BITMIME, and the message is not ASCII"
    for each in (message, letter("reader00@example.com")):
        seen = await exchange(rig, [offers("8BITMIME")], message=each)
        told = "BODY=8BITMIME" in seen.lines("mail")[0].upper()
        plain = seen.first.data.isascii()
        assert told or plain, "the message is not ASCII, and MAIL does not say BODY=8BITMIME"
        assert traffic.holds(seen.first.data, each.text or ""), "the text is not in what left"


@check("GC-SMTP-008", after=SENDS)
async def a_size_is_the_size(rig: Rig) -> None:
    """Servers refuse by it, and answer for it: it must not be less than what comes (RFC 1870 section 6.1)."""
    for length in (10, 70_000):
        seen = await exchange(
            rig, message=letter("reader00@example.com", text="words of a letter\n" * (length // 18 + 1))
        )
        (line,) = seen.lines("mail")
        found = re.search(r"(?i) SIZE=(\d+)", line)
        needs(found, "it says no SIZE")
        assert found is not None
        really = len(seen.first.data)
        assert really <= int(found[1]) <= really + 1000, f"it says SIZE={found[1]}, and the message has {really} bytes"


@check("GC-SMTP-009", after=SENDS)
async def what_is_too_large_does_not_leave(rig: Rig) -> None:
    """A server says beforehand how much it takes: whoever sends more sends for nothing, or is cut off."""
    text = "words of a letter\n" * 300
    seen = await exchange(rig, [offers("SIZE 4000")], message=letter("reader00@example.com", text=text))
    outcome = seen.outcomes[0]
    assert not seen.taken, "the server takes 4000 bytes, and a larger message left"
    assert outcome.state is State.REJECTED, f"the message is too large, and the outcome is {outcome.state}"
    assert outcome.reason == "too_large", f"the message is too large, and the reason is {outcome.reason}"
    said = f"{outcome.text} {outcome.hint}"
    assert "4000" in said, f"the message is too large, and the outcome does not say for what: {said}"
    assert not outcome.suppress, "the message is too large, and its recipient is to be suppressed"
    for keyword in ("SIZE 40000", "SIZE 0", "SIZE"):
        seen = await exchange(rig, [offers(keyword)], message=letter("reader00@example.com", text=text))
        outcome = seen.outcomes[0]
        assert outcome.state is State.ACCEPTED, f"the server offers {keyword}, and the outcome is {outcome}"


@check("GC-SMTP-010", after=SENDS)
async def international_addresses_go_where_they_are_taken(rig: Rig) -> None:
    """Without SMTPUTF8 such an address cannot be said; with it, MAIL says that there is one (RFC 6531)."""
    needs(rig.declares("send.international_addresses"), "it declares no send.international_addresses")
    message = letter("reader00@example.com", "jörg@example.com")
    seen = await exchange(rig, [offers("SIZE", "8BITMIME")], message=message)
    outcome = seen.of("jörg@example.com")
    said = [line for line in (*seen.lines("mail"), *seen.lines("rcpt")) if not line.isascii() or "SMTPUTF8" in line]
    assert not said, f"the server does not offer SMTPUTF8, and it says {said[0]!r}"
    assert outcome.state is State.REJECTED, f"the address cannot be said to this server, and the outcome is {outcome}"
    assert outcome.reason == "unsupported", f"the address cannot be said, and the reason is {outcome.reason}"
    assert not outcome.suppress, "one server cannot take the address, and it is to be suppressed"
    seen.agree()
    seen = await exchange(rig, [offers("8BITMIME", "SMTPUTF8")], message=message)
    assert "SMTPUTF8" in seen.lines("mail")[0].upper(), "the address is not ASCII, and MAIL does not say SMTPUTF8"
    seen.agree()
    if rig.declares("send.cc_bcc"):
        # Nothing in the message is of the address: only the envelope is.
        hidden = letter("reader00@example.com", bcc=["jörg@example.com"])
        for offered, state in ((offers("SIZE"), State.REJECTED), (offers("SMTPUTF8"), State.ACCEPTED)):
            seen = await exchange(rig, [offered], message=hidden)
            assert seen.of("jörg@example.com").state is state, f"a blind copy: {seen.of('jörg@example.com')}"
            assert seen.of("reader00@example.com").state is State.ACCEPTED, (
                "a blind copy costs somebody else the message"
            )
            told = any("SMTPUTF8" in line.upper() for line in seen.lines("mail"))
            assert told or state is State.REJECTED, "a blind copy is not ASCII, and MAIL does not say SMTPUTF8"
    sender = letter("reader00@example.com", from_="Jörg <jörg@example.com>")
    seen = await exchange(rig, [offers("SIZE")], message=sender)
    assert seen.outcomes[0].reason == "unsupported", f"the sender cannot be said to this server: {seen.outcomes[0]}"
    assert not seen.taken, "the sender cannot be said to this server, and a message left"


@check("GC-SMTP-011", after=SENDS)
async def lines_are_lines(rig: Rig) -> None:
    """A line ends in CR and LF and holds neither; none of a message is longer than 998 (RFC 5321 section 2.3.8)."""
    text = "a line\r\nand one\nmore\n" + "word " * 500
    seen = await exchange(rig, message=letter("reader00@example.com", text=text, subject="word " * 190))
    wire = seen.connections[0].received_plain
    assert wire.endswith(b"\r\n"), "what is said last does not end its line"
    bare = re.search(rb"[^\r]\n|\r[^\n]", wire)
    assert not bare, "a CR or LF stands alone"
    longest = max(len(line) for line in seen.first.data.split(b"\r\n"))
    assert longest <= _LONGEST_LINE_BYTES, f"a line of the message has {longest} bytes"


@check("GC-SMTP-012", after=SENDS)
async def dots_arrive_from_anywhere(rig: Rig) -> None:
    """Of a message that leaves in pieces as well (RFC 5321 section 4.5.2)."""
    lines = (".", "..", ". a dot", "no dot", "x" * 61)
    text = "".join(f"{line}\n" for line in lines * 3000)
    seen = await exchange(rig, message=letter("reader00@example.com", text=text))
    whole = [layer.replace(b"\r\n", b"\n") for layer in traffic.layers(seen.first.data)]
    assert any(text.strip().encode() in layer for layer in whole), "the text did not arrive as it was written"


@check("GC-SMTP-013", force=Force.SHOULD, after=SENDS)
async def it_says_goodbye(rig: Rig) -> None:
    """A connection that ends without QUIT looks like a failure in the log of the server (RFC 5321 section 4.1.1.10)."""
    seen = await exchange(rig, copies=3)
    await _deserted(rig)
    used = [connection.stages() for connection in seen.connections if "final" in connection.stages()]
    silent = [stages[-1] for stages in used if stages[-1] != "quit"]
    assert not silent, f"it closed, and the last thing it said was {silent[0].upper()}"


async def _deserted(rig: Rig) -> None:
    try:
        await server_of(rig).deserted(GRACE_S)
    except TimeoutError:
        raise AssertionError("it is closed, and a connection is still open") from None


@check("GC-SMTP-014", force=Force.SHOULD, after=SENDS)
async def a_connection_is_used_again(rig: Rig) -> None:
    """Connecting and signing in take longer than sending, and servers count connections."""
    server = server_of(rig)
    async with rig.opened() as state:
        for number in range(4):
            await rig.deliver_with(state, letter(f"reader0{number}@example.com"))
        count = len(server.connections)
        assert count == 1, f"4 messages one after another took {count} connections"
        await rig.send(state, await batch_of(letter(*readers(4))))
        assert len(server.connections) == 1, "a message to 4 recipients took another connection"
    assert len(server.taken) == 5, "a message to several recipients takes several hand-overs"


@check("GC-SMTP-015", force=Force.SHOULD, after=SENDS)
async def limits_are_kept(rig: Rig) -> None:
    """What a server says of its limits (RFC 9422) it will refuse beyond them."""
    to = [f"reader{number:02}@{'abcde'[number]}.example.com" for number in range(5)]
    for keyword, most in (("RCPTMAX", 2), ("RCPTDOMAINMAX", 2), ("MAILMAX", 1)):
        seen = await exchange(rig, [offers("PIPELINING", f"LIMITS {keyword}={most}")], message=letter(*to))
        accepted = [outcome.state is State.ACCEPTED for outcome in seen.outcomes]
        assert all(accepted), f"with {keyword}={most}, one of 5 recipients is not accepted"
        seen.agree()
        for connection in seen.connections:
            counts = {
                "RCPTMAX": max(connection.stages().count("rcpt") - 2 * (connection.stages().count("mail") - 1), 0),
                "MAILMAX": connection.stages().count("mail"),
                "RCPTDOMAINMAX": connection.stages().count("rcpt"),
            }
            assert counts[keyword] <= most, f"the server says {keyword}={most}, and {counts[keyword]} came"


@check("GC-SMTP-016", after=("GC-CAP-039",))
async def what_is_announced_is_in_the_table(rig: Rig) -> None:
    """Whoever plans by the effective table plans by what this server takes."""
    cases = (
        ((), None, False),
        (("SIZE 123456", "SMTPUTF8", "8BITMIME"), 123_456, True),
        (("SIZE 99", "PIPELINING", "CHUNKING", "DSN", "REQUIRETLS", "ENHANCEDSTATUSCODES"), 99, False),
        (("SIZE", "LIMITS RCPTMAX=7", "smtputf8"), None, True),
        (("SIZE 0", "LIMITS MAILMAX=9"), None, False),
    )
    for keywords, size_bytes, utf8 in cases:
        server_of(rig).play([offers(*keywords)])
        tables = [step.capabilities for step in await rig.steps() if step.capabilities is not None]
        needs(tables, "it gives no effective table")
        table = tables[-1]
        said = f"the server offers {', '.join(keywords) or 'nothing'}, and its table"
        found = table.limit("send.transactional", "max_message_bytes")
        assert found == size_bytes, f"{said} has max_message_bytes {found}"
        level = table["send.international_addresses"].level
        assert level is (Level.YES if utf8 else Level.NO), f"{said} has international addresses {level}"
        if "LIMITS RCPTMAX=7" in keywords:
            most = table.limit("send.transactional", "max_recipients")
            assert most == 7, f"{said} has max_recipients {most}"
        offered = {keyword.split()[0].lower() for keyword in keywords} | {"auth"}
        for entry in table.entries:
            vendor, _, name = entry.name.partition(".")
            if vendor == "x-smtp":
                assert _carries(table, entry.name) == (name in offered), f"{said} has {entry.name} {entry.level}"


def _carries(table: CapabilityTable, name: str) -> bool:
    return table[name].level in (Level.YES, Level.CONDITIONAL)


@check("GC-SMTP-017", after=SENDS)
async def what_was_said_before_signing_in_is_hidden(rig: Rig) -> None:
    """A server that repeats what it was told must not bring the password into an outcome."""
    needs(rig.canaries, "its settings hold no secret")
    secret = rig.canaries[0].encode()
    said = b"535 5.7.8 no %b, nor %b\r\n" % (secret, base64.b64encode(secret))
    seen = await exchange(rig, [on("auth", Say(said))])
    shown = repr([attrs.asdict(outcome) for outcome in seen.outcomes]).encode()
    assert secret not in shown, "the server repeats the password, and it stands in the outcome"
    assert base64.b64encode(secret) not in shown, (
        "the server repeats the password in base64, and it stands in the outcome"
    )


@check("GC-SMTP-018", after=SENDS)
async def a_server_that_takes_nothing_early_loses_nothing(rig: Rig) -> None:
    """Some offer PIPELINING and refuse what comes early, or offer CHUNKING and do not know BDAT."""
    early = only_if(_behind_a_message, Say(b"503 5.5.1 wait for your answer\r\n"))
    scripts = (
        [offers("PIPELINING"), on("mail", early)],
        [offers("PIPELINING", "CHUNKING"), on("final", only_if(_in_chunks, Say(b"502 5.5.1 not known\r\n")))],
    )
    for script in scripts:
        seen = await exchange(rig, script, copies=20)
        seen.agree()
        lost = [outcome for outcome in seen.outcomes if outcome.state is not State.ACCEPTED]
        assert not lost, f"the server takes every message that is sent in another way, and the outcome is {lost[0]}"
        most = 20 + 2 * len(seen.connections)
        asked = len(seen.lines("mail"))
        assert asked <= most, f"the server does not take what it offers, and is asked for 20 messages {asked} times"


@check("GC-SMTP-019", force=Force.SHOULD, after=SENDS)
async def an_envelope_goes_at_once_where_it_may(rig: Rig) -> None:
    """Each command alone costs a round trip, and the server is often far away (RFC 2920)."""
    seen = await exchange(rig, [offers("PIPELINING")], message=letter(*readers(5)))
    alone = [command.stage for command in seen.commands if command.stage == "rcpt" and not command.pipelined]
    assert not alone, f"the server offers PIPELINING, and {len(alone)} of 5 recipients are named one by one"
    seen.agree()


@check("GC-SMTP-036", after=("GC-SET-001",))
async def a_host_is_a_host(rig: Rig) -> None:
    """A name with a port or a scheme in it is found nowhere, and the error comes hours later."""
    server_of(rig)
    needs("host" in rig.data, "it has no setting host")
    for good in ("mail.example.com", "localhost", "192.0.2.1", "2001:db8::1", "bücher.example", "mail-1.example.com"):
        try:
            rig.structured({**rig.data, "host": good})
        except SettingsError as error:
            raise AssertionError(f"the host {good!r} is refused: {error}") from None
    for wrong in (
        "",
        "mail example.com",
        "mail.example.com:25",
        "smtp://mail.example.com",
        "mail..example.com",
        "mail.example.com/in",
    ):
        try:
            rig.structured({**rig.data, "host": wrong})
        except SettingsError:
            continue
        raise AssertionError(f"the host {wrong!r} is taken")


@check("GC-SMTP-037", after=SENDS)
async def what_is_of_no_use_is_closed(rig: Rig) -> None:
    """A server counts the connections it has, and lets in no more than so many."""
    server = server_of(rig)
    for rule in (on("quit", Hang()), on("quit", Say(b"221 2.0.0 good bye\r\n"))):
        seen = await exchange(rig, [rule])
        await _deserted(rig)
        errors = [connection.error for connection in seen.connections if connection.error]
        assert isinstance(rule.action, Hang) or not errors, f"the server says good-bye, and is cut off: {errors[0]}"
    for stage in ("ehlo", "mail", "final"):
        for action in (Garbage(), Answer(after=b"250 2.0.0 once more\r\n"), Reply421(close=False)):
            server.forget()
            server.play([on(stage, action)])
            async with rig.opened() as state:
                await rig.send(state, await batch_of(letter("reader00@example.com")), rig.context(3.0))
                try:
                    await server.deserted(GRACE_S)
                except TimeoutError:
                    raise AssertionError(f"{action} at the stage {stage}, and the connection stays open") from None


def _behind_a_message(record: ConnectionRecord) -> bool:
    before = record.commands[-2]
    return before.stage == "final" and before.pipelined


def _in_chunks(record: ConnectionRecord) -> bool:
    return record.commands[-1].line.upper().startswith(b"BDAT")
