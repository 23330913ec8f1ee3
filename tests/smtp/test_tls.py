"""Certificates that must not be trusted, and attacks on the way to TLS: not a byte of a credential leaves."""

from __future__ import annotations

import base64

import pytest

from genie_connect.model.diagnosis import Status
from genie_connect.model.outcome import Scope, State
from genie_connect_spec.smtp_certificates import CertificateSet
from genie_connect_spec.smtp_tls_cases import TlsCase, tls_cases
from tests.smtp.support import PASSWORD, diagnosed, send_once, settings_for, signing_in

_SECRETS = (PASSWORD.encode(), base64.b64encode(f"\0ada\0{PASSWORD}".encode()), b"MAIL FROM", b"AUTH ")
_BEFORE = {"ehlo": 0, "starttls": 1, "tls": 2, "ehlo_tls": 3}


@pytest.mark.parametrize("case", tls_cases(), ids=str)
async def test_nothing_is_said_to_a_server_that_cannot_be_trusted(
    case: TlsCase, smtp_certificates: CertificateSet
) -> None:
    """The attempt fails before AUTH and MAIL, as a fault of the connection, and the wire shows it."""
    async with case.server(smtp_certificates) as server:
        settings = settings_for(server, ca_file=str(server.ca_file), **signing_in())
        seconds = 0.4 if "hang" in case.id else 4.0
        (outcome,) = await send_once(settings, seconds=seconds)

        wire = server.wire + b"".join(record.received_tls + record.received_plain for record in server.connections)
        assert not [secret for secret in _SECRETS if secret in wire]
        assert server.auth_attempts == 0
        said = [stage for record in server.connections for stage in record.stages()]
        assert all(_BEFORE.get(stage, 9) <= _BEFORE[case.last_stage] for stage in said), said
    assert outcome.state is State.DEFERRED
    assert outcome.scope is Scope.CONNECTION
    kinds = {"tls": "tls", "auth_not_offered": "auth", "protocol": "protocol"}
    assert outcome.reason == kinds[case.diagnosis], outcome


@pytest.mark.parametrize("case", tls_cases(), ids=str)
async def test_the_connector_test_names_what_is_wrong(case: TlsCase, smtp_certificates: CertificateSet) -> None:
    """The last step fails with a diagnosis that is about TLS, and says what to do."""
    async with case.server(smtp_certificates) as server:
        settings = settings_for(server, ca_file=str(server.ca_file), **signing_in())
        steps = await diagnosed(settings, seconds=0.4 if "hang" in case.id else 4.0)
    assert [step.status for step in steps[:-1]] == [Status.OK] * (len(steps) - 1)
    assert steps[-1].status is Status.FAIL
    found = steps[-1].diagnosis
    assert found is not None
    assert found.fixes
    certificate = {
        "certificate_expired": "cert_expired",
        "certificate_wrong_host": "cert_hostname",
        "certificate_self_signed": "cert_self_signed",
        "certificate_untrusted_ca": "cert_untrusted",
        "certificate_address_not_named": "cert_hostname",
        "only_old_tls": "tls_too_old",
        "starttls_stripped": "starttls_missing",
        "ehlo_hidden": "starttls_missing",
        "plaintext_in_the_segment_of_the_220": "plaintext_after_starttls",
        "auth_offered_only_before_tls": "auth_not_offered",
        "reply_before_its_command_inside_tls": "extra_reply",
    }
    wanted = certificate.get(case.id.removesuffix("_starttls").removesuffix("_tls"))
    assert wanted in (None, found.code), found
