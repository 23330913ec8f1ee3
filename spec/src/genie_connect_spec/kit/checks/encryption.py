"""The way to TLS: a connector that is set to encrypt says nothing to a server that it cannot be sure of.

The cases are those of ``smtp_tls_cases``. They need ``cryptography`` (extra ``tls`` of this distribution).

PYTEST_DONT_REWRITE: each assertion says itself what is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Final

from genie_connect.errors import SettingsError
from genie_connect.model.diagnosis import Diagnosis, Status, Step
from genie_connect.model.outcome import Retry, Scope, State
from genie_connect_spec.kit.check import Force, NotApplicable, check, needs
from genie_connect_spec.kit.conversation import PLAIN, Elsewhere, Exchange, exchange, server_of
from genie_connect_spec.kit.letters import letter
from genie_connect_spec.kit.provider import relocated
from genie_connect_spec.kit.rig import Rig, failed
from genie_connect_spec.kit.smtp_provider import SmtpProvider
from genie_connect_spec.smtp_script import Say, ehlo_reply, on
from genie_connect_spec.smtp_server import ScriptedSmtpOptions, Security
from genie_connect_spec.smtp_tls_cases import TlsCase, tls_cases

SENDS: Final = ("GC-SEND-001",)
ENCRYPTS: Final = ("GC-SMTP-050",)
BOTH: Final[tuple[Security, ...]] = ("starttls", "tls")
_BEFORE: Final = {"ehlo": 0, "starttls": 1, "tls": 2, "ehlo_tls": 3}
_UTF8: Final = "Grüße, 你好"
_HANG_S: Final = 2.5
"""Time enough to come as far as TLS, on a machine that is busy as well."""
_THREE: Final = re.compile(r"(?<![\w.-])3(?![\d.-])")
"""The number, and not the end of TLSv1.3."""


@contextmanager
def encrypting(rig: Rig, security: Security, **options: object) -> Iterator[Elsewhere]:
    """A server that encrypts, and the settings with which the connector demands it."""
    own = server_of(rig)
    try:
        import cryptography  # noqa: F401  # certificates are made with it
    except ModuleNotFoundError:
        raise NotApplicable("certificates need cryptography: pip install 'genie-connect-spec[tls]'") from None
    with SmtpProvider(**ScriptedSmtpOptions(security=security, **options)) as server:  # type: ignore[typeddict-item]
        data = rig.contract.encrypted(rig.data, security, str(server.ca_file))
        needs(data, f"its contract names no settings with security {security}")
        rig.guard.allow(server.host, server.port)
        data = relocated(data, own, server.host, server.port)
        yield Elsewhere(server=server, settings=rig.structured(data))


@check("GC-SMTP-050", after=SENDS)
async def what_is_to_be_encrypted_is(rig: Rig) -> None:
    """Everybody on the way reads what is not, the password first."""
    for security in BOTH:
        with encrypting(rig, security) as there:
            seen = await exchange(rig, at=there)
            assert seen.outcomes[0].state is State.ACCEPTED, f"a server with {security} took it: {seen.outcomes[0]}"
            assert seen.taken, f"the outcome is accepted with {security}, and nothing was handed over"
            clear = [command.stage for command in seen.commands if not command.tls]
            allowed = ["ehlo", "starttls"] if security == "starttls" else []
            assert clear == allowed, f"with {security} it says {', '.join(clear)} in clear"
            assert all(message.tls for message in seen.taken), f"with {security} a message came in clear"
            wrong = [step for step in await rig.steps(there.settings) if step.status is Status.FAIL]
            assert not wrong, f"the server is as it should be with {security}, and the step {wrong[0].id} failed"


@check("GC-SMTP-051", after=ENCRYPTS)
async def what_was_said_in_clear_counts_no_more(rig: Rig) -> None:
    """Whoever is on the way may have written it (RFC 3207 section 4.2): it is asked again."""
    message = letter("reader00@example.com", subject=_UTF8, text=_UTF8)
    every = ehlo_reply("STARTTLS", "AUTH PLAIN LOGIN", "SIZE 10", "8BITMIME", "SMTPUTF8", "PIPELINING", "CHUNKING")
    with encrypting(rig, "starttls") as there:
        seen = await exchange(rig, [on("ehlo", Say(every)), on("ehlo_tls", PLAIN)], message=message, at=there)
        assert seen.lines("ehlo_tls"), "it does not say EHLO again inside TLS"
        assert seen.outcomes[0].state is State.ACCEPTED, (
            f"it goes by the SIZE that was announced in clear: {seen.outcomes[0]}"
        )
        odd = [line for line in (*seen.lines("mail"), *seen.lines("rcpt")) if line.partition(">")[2].strip()]
        assert not odd, f"inside TLS the server offers nothing of the kind, and it says {odd[0]!r}"
        assert not any(command.pipelined for command in seen.commands), "PIPELINING was offered in clear, and is used"
        steps = await rig.steps(there.settings)
        tables = [step.capabilities for step in steps if step.capabilities is not None]
        if tables:
            found = tables[-1].limit("send.transactional", "max_message_bytes")
            assert found is None, f"max_message_bytes is {found}, which was announced in clear"
        inside = on("ehlo_tls", Say(ehlo_reply("AUTH PLAIN LOGIN", "8BITMIME", "SIZE 100000")))
        seen = await exchange(rig, [on("ehlo", Say(ehlo_reply("STARTTLS"))), inside], message=message, at=there)
        assert seen.outcomes[0].state is State.ACCEPTED, f"sign-in is offered inside TLS alone: {seen.outcomes[0]}"


def _cases(*parts: str) -> list[TlsCase]:
    found = [case for case in tls_cases() if any(part in case.id for part in parts)]
    assert found, f"no case is called {parts}"
    return found


async def _refuses(rig: Rig, case: TlsCase) -> Exchange:
    """Nothing is said beyond where the case begins, and the outcome and the test say so."""
    options = {"certificate": case.certificate, "only_old_tls": case.only_old_tls}
    seconds = _HANG_S if "hang" in case.id else 6.0
    with encrypting(rig, case.security, **options) as there:
        seen = await exchange(rig, case.script, deadline_s=seconds, at=there)
        said = f"the server does what is called {case.id}, and"
        late = [
            stage
            for connection in seen.connections
            for stage in connection.stages()
            if _BEFORE.get(stage, 9) > _BEFORE[case.last_stage]
        ]
        assert not late, f"{said} it goes on with {late[0].upper()}"
        wire = b"".join(each.wire + each.received_plain + each.received_tls for each in seen.connections)
        assert not any(secret.encode() in wire for secret in rig.canaries), f"{said} a secret leaves"
        outcome = seen.outcomes[0]
        assert outcome.state is State.DEFERRED, f"{said} the outcome is {outcome.state}"
        assert outcome.scope is Scope.CONNECTION, f"{said} the outcome is about {outcome.scope}"
        reason = {"tls": "tls", "auth_not_offered": "auth", "protocol": "protocol"}[case.diagnosis]
        assert outcome.reason == reason, f"{said} the reason is {outcome.reason}"
        there.server.play(case.script)
        diagnosis = _diagnosis(await rig.steps(there.settings, deadline_s=seconds), said)
        assert diagnosis.fixes, f"{said} the test has no advice"
    return seen


def _diagnosis(steps: list[Step], said: str) -> Diagnosis:
    diagnosis = steps[-1].diagnosis
    assert steps[-1].status is Status.FAIL, f"{said} the test ends as {steps[-1].status}"
    assert diagnosis is not None, f"{said} the failed step has no diagnosis"
    return diagnosis


@check("GC-SMTP-052", after=ENCRYPTS)
async def without_starttls_nothing_leaves(rig: Rig) -> None:
    """Whoever takes the offer away on the way reads what is sent all the same."""
    for case in _cases("starttls_stripped", "ehlo_hidden", "starttls_answered"):
        await _refuses(rig, case)


@check("GC-SMTP-053", after=ENCRYPTS)
async def nothing_is_slipped_in_before_tls(rig: Rig) -> None:
    """Replies that were written on the way, in clear, would count as the server's (CVE-2011-0411 and after)."""
    for case in _cases("plaintext", "before_its_command"):
        await _refuses(rig, case)


@check("GC-SMTP-054", after=ENCRYPTS)
async def a_certificate_is_looked_at(rig: Rig) -> None:
    """Anybody can encrypt: who it is says the certificate, with its name, its time and its authority."""
    for case in _cases("certificate"):
        await _refuses(rig, case)


@check("GC-SMTP-055", after=ENCRYPTS)
async def a_handshake_that_breaks_ends_it(rig: Rig) -> None:
    """There is no way around TLS where TLS does not come about, or only an old one does."""
    for case in _cases("in_handshake", "only_old_tls"):
        await _refuses(rig, case)


@check("GC-SMTP-074", force=Force.SHOULD, after=("GC-SMTP-054", "GC-SMTP-055"))
async def what_may_pass_may_be_tried_again(rig: Rig) -> None:
    """A certificate that is wrong is as wrong in a minute, where a connection that broke may not break again."""
    for part, retry in (
        ("certificate", Retry.OTHER),
        ("closed_in_handshake", Retry.ANY),
        ("reset_in_handshake", Retry.ANY),
    ):
        found = (await _refuses(rig, _cases(part)[0])).outcomes[0].retry
        assert found is retry, f"the server does what is called {_cases(part)[0].id}, and retry is {found}"


@check("GC-SMTP-056", after=(*ENCRYPTS, "GC-SMTP-002"))
async def sign_in_is_offered_inside(rig: Rig) -> None:
    """What was offered in clear is no offer."""
    for case in _cases("auth_offered_only_before_tls"):
        await _refuses(rig, case)


@check("GC-SMTP-057", after=ENCRYPTS)
async def a_test_says_what_is_wrong_with_a_certificate(rig: Rig) -> None:
    """One is renewed, one is moved to another name, one is told to the machine: nobody can guess which."""
    cases = (
        ("expired", r"expir|renew"),
        ("wrong_host", r"\bname|\bhost"),
        ("self_signed", r"self|by itself|authority|trust"),
        ("untrusted_ca", r"authority|trust|issuer"),
    )
    codes: dict[str, str] = {}
    for security in BOTH:
        for certificate, words in cases:
            with encrypting(rig, security, certificate=certificate) as there:
                said = f"the certificate is called {certificate}, and"
                diagnosis = _diagnosis(await rig.steps(there.settings, deadline_s=6.0), said)
            told = f"{diagnosis.title} {diagnosis.cause}"
            assert re.search(words, told, re.IGNORECASE), f"{said} the diagnosis says {told!r}"
            codes[certificate] = diagnosis.code
    several = len({codes["expired"], codes["wrong_host"], codes["untrusted_ca"]})
    assert several == 3, f"what is wrong with a certificate cannot be told by the codes {codes}"


@check("GC-SMTP-058", force=Force.SHOULD, after=ENCRYPTS)
async def a_test_tells_of_the_certificate(rig: Rig) -> None:
    """Which ends one day, mostly at night: a test can say so days before."""
    for security in BOTH:
        for certificate, days, status in (("good", 397, Status.OK), ("ends_soon", 3, Status.WARN)):
            with encrypting(rig, security, certificate=certificate) as there:
                steps = await rig.steps(there.settings)
            told = [step for step in steps if any("TLSv1." in str(value) for value in step.facts.values())]
            assert told, f"with {security} no step has the version of TLS among its facts"
            ends = {(datetime.now(UTC) + timedelta(days=days + more)).date().isoformat() for more in (-1, 0, 1)}
            facts = {str(value) for value in told[0].facts.values()}
            assert ends & facts, f"with {security} the facts do not say when the certificate ends: {sorted(facts)}"
            names = [fact for fact in facts if "localhost" in fact]
            assert names, "the facts do not say whose certificate it is"
            said = f"the certificate ends in {days} days, and the step ends as {told[0].status}"
            assert told[0].status is status, said
            if status is Status.WARN:
                summary = told[0].summary
                named = _THREE.search(summary) or any(day in summary for day in ends)
                assert named, f"the certificate ends in 3 days, and the step says {summary!r}"


@check("GC-SMTP-059", after=ENCRYPTS)
async def an_authority_that_is_none_is_found(rig: Rig) -> None:
    """A file that is gone, or is no certificate, must not make every server trusted."""
    with encrypting(rig, "tls") as there:
        gone = there.server.ca_file.with_name("gone.pem")
        key = there.server.ca_file.with_name("good.key")
        for path, what in ((gone, "does not exist"), (key, "holds no certificate")):
            data = rig.contract.encrypted(rig.data, "tls", str(path))
            data = relocated(data, server_of(rig), there.server.host, there.server.port)
            try:
                settings = rig.structured(data)
            except SettingsError as error:
                named = [problem.path for problem in error.problems if str(path) in str(data.get(problem.path))]
                assert named, f"the file of the authority {what}, and no setting is named"
                continue
            assert failed(await rig.steps(settings)).diagnosis, f"the file of the authority {what}, and nothing says so"
