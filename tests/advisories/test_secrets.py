"""Advisories about passwords that are shown, and about tests of a connection that show too much."""

from __future__ import annotations

import base64
import traceback

import pytest

from genie_connect_smtp.errors import SmtpError
from genie_connect_smtp.limits import Limits
from genie_connect_spec.fixtures import StartScriptedSmtp
from genie_connect_spec.smtp_script import Say, on
from tests.smtp.support import PASSWORD, context, diagnosed, opened, send_once, settings_for, signing_in

_SIGN_IN_LINE = base64.b64encode(f"\0ada\0{PASSWORD}".encode()).decode()


@pytest.mark.parametrize("said", [PASSWORD, _SIGN_IN_LINE, "no"])
async def test_cve_2018_1000089_a_password_is_in_no_report_of_a_failure(
    said: str, scripted_smtp: StartScriptedSmtp, caplog: pytest.LogCaptureFixture
) -> None:
    """Anymail's webhook secret came up in error reports. Ours is in no outcome, log, error or traceback with locals.

    Not even where the server repeats it, or the line that it went in.
    """
    caplog.set_level("DEBUG")
    server = await scripted_smtp([on("auth", Say(f"535 5.7.8 {said} is wrong\r\n".encode()))])
    settings = settings_for(server, **signing_in())
    (outcome,) = await send_once(settings)
    shown = [repr(outcome), repr(await diagnosed(settings)), caplog.text, repr(settings)]
    async with opened(settings) as state:
        with pytest.raises(SmtpError) as failure:
            await state.pool.acquire(Limits(settings, context()))
    report = traceback.TracebackException.from_exception(failure.value, capture_locals=True)
    shown += [repr(failure.value), "".join(_lines_about_settings(report))]
    assert server.auth_attempts == 3
    assert not [text for text in shown if PASSWORD in text or _SIGN_IN_LINE in text]


def _lines_about_settings(report: traceback.TracebackException) -> list[str]:
    """The locals that hold settings or errors; the frames of the sign-in itself have to hold the password."""
    return [
        f"{name} = {value}"
        for frame in report.stack
        for name, value in (frame.locals or {}).items()
        if name in ("self", "settings", "error", "reply", "state", "limits")
    ]


@pytest.mark.parametrize(
    "banner",
    [
        b"SSH-2.0-OpenSSH_9.2p1\r\n",
        b"HTTP/1.1 200 OK\r\nServer: internal-admin\r\n\r\n",
        b"+PONG redis 7.2\r\n",
        b"\x05\x00\r\n",
    ],
)
async def test_cve_2026_27808_a_connection_test_shows_nothing_of_what_is_no_mail_server(
    banner: bytes, scripted_smtp: StartScriptedSmtp
) -> None:
    """Mailpit showed what it had fetched from inside the network. A port that is no mail server's shows no byte.

    Which addresses a host may be pointed at is decided above this layer.
    """
    server = await scripted_smtp([on("banner", Say(banner))])
    steps = await diagnosed(settings_for(server, connect_timeout_s=0.5), seconds=1)
    (outcome,) = await send_once(settings_for(server, connect_timeout_s=0.5), seconds=1)
    shown = (repr(steps) + repr(outcome)).lower()
    assert not [word for word in ("ssh", "http/", "internal", "pong", "redis") if word in shown]
