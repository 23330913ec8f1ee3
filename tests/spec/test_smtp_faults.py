"""The grids of faults: a client that follows the outcome table meets every cell and finds what the cell says."""

from __future__ import annotations

import base64

import pytest

from genie_connect_spec.smtp_certificates import CertificateSet
from genie_connect_spec.smtp_faults import GRID_STAGES, FaultCell, fault_grid
from genie_connect_spec.smtp_script import on
from genie_connect_spec.smtp_tls_cases import TlsCase, tls_cases
from tests.spec.strict_client import SECRET, Envelope, send

SMALL = b"Subject: hi\r\n\r\nhello\r\n"


def content_for(cell: FaultCell) -> bytes:
    """A message at least as large as the cell wants."""
    return SMALL + (b"x" * 76 + b"\r\n") * (cell.message_bytes // 78 + 1)


@pytest.mark.parametrize("cell", fault_grid(), ids=str)
async def test_every_cell_of_the_grid_is_true(cell: FaultCell, smtp_certificates: CertificateSet) -> None:
    """The outcome is one the cell expects, and the server has the message exactly if the cell says so."""
    # Only a slow cell runs into its deadline, and before QUIT there is a whole message to send.
    slow_s = 1.0 if cell.stage == "quit" else 0.5
    deadline_s = slow_s if cell.slow else 10.0
    async with cell.server(smtp_certificates) as server:
        outcome = await send(
            Envelope(
                host=server.host,
                port=server.port,
                security=cell.security,
                context=None if cell.security == "none" else smtp_certificates.client_context(),
                content=content_for(cell),
                authenticate=cell.needs_auth,
            ),
            deadline_s,
        )
        await server.wait_until_idle(10)
    assert outcome in cell.expected
    assert len(server.accepted) == (cell.handed_over == "yes")
    assert len(server.handed_over) == (cell.handed_over != "no" or cell.stage == "final")
    assert len(server.connections) == (cell.fault not in ("refuse", "unanswered"))


def test_the_grid_covers_every_stage_and_names_each_cell_once() -> None:
    """Names are unique, and at least ten faults fall at each stage of the conversation proper."""
    cells = list(fault_grid())
    assert len({cell.id for cell in cells}) == len(cells)
    by_stage = {stage: {cell.fault for cell in cells if cell.stage == stage} for stage in GRID_STAGES}
    assert {stage for stage, faults in by_stage.items() if len(faults) < 10} == {"connect", "tls"}
    assert all(cell.handed_over == "no" for cell in cells if cell.stage not in ("final", "quit"))
    assert all(cell.another_connection is (cell.handed_over == "no") for cell in cells)


def test_the_grid_can_be_narrowed() -> None:
    """Tests that need only a part of it ask for that part."""
    cells = list(fault_grid(stages=["final"], securities=["tls"]))
    assert {(cell.stage, cell.security) for cell in cells} == {("final", "tls")}
    assert all(rule.stage == "final" for cell in cells for rule in cell.script)
    with pytest.raises(ValueError, match="unknown"):
        on("finale", cells[0].script[0].action)


@pytest.mark.parametrize("case", tls_cases(), ids=str)
async def test_no_case_of_bad_tls_sees_a_credential(case: TlsCase, smtp_certificates: CertificateSet) -> None:
    """The client stops where the case says, and no byte of the password crosses in any form."""
    async with case.server(smtp_certificates) as server:
        outcome = await send(
            Envelope(
                host=server.host,
                port=server.port,
                security=case.security,
                context=smtp_certificates.client_context(),
                content=SMALL,
                authenticate=True,
            ),
            0.25 if case.id.startswith("hang") else 10.0,
        )
        await server.wait_until_idle(10)
    (connection,) = server.connections
    assert outcome in ("deferred", "rejected")
    assert server.auth_attempts == 0
    said = connection.received_plain + connection.received_tls + connection.wire
    assert SECRET.encode() not in said
    assert base64.b64encode(f"\0ada\0{SECRET}".encode()) not in said
    last_commands = {"ehlo": ["ehlo"], "starttls": ["ehlo", "starttls"], "ehlo_tls": ["ehlo", "starttls", "ehlo_tls"]}
    handshake_only = [] if case.security == "tls" else ["ehlo", "starttls"]
    assert connection.stages() == last_commands.get(case.last_stage, handshake_only)
