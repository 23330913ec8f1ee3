"""Signing in, exchange by exchange, without a network."""

from __future__ import annotations

import base64

import pytest

from genie_connect_smtp.auth import Credentials, choose, sign_in
from genie_connect_smtp.errors import ConnectionFault, Fault, ServerRefused
from genie_connect_smtp.extensions import Extensions
from genie_connect_smtp.replies import Reply

_ADA = Credentials("ada", "tanstaaftanstaaf")


class _Server:
    """Answers each line in turn and keeps what it was told."""

    def __init__(self, *replies: str) -> None:
        self.said: list[bytes] = []
        self._replies = list(replies)

    async def __call__(self, *words: bytes) -> Reply:
        self.said.append(b" ".join(words))
        line = self._replies.pop(0)
        return Reply.of(int(line[:3]), (line[4:],))


async def test_plain_goes_with_the_command() -> None:
    """RFC 4616: nothing, user name, password, with NUL between."""
    server = _Server("235 ok")
    await sign_in("plain", _ADA, server)
    assert server.said == [b"AUTH PLAIN " + base64.b64encode(b"\0ada\0tanstaaftanstaaf")]


async def test_login_answers_two_questions() -> None:
    """User name, then password."""
    server = _Server("334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6", "235 ok")
    await sign_in("login", _ADA, server)
    assert server.said == [b"AUTH LOGIN", b"YWRh", base64.b64encode(b"tanstaaftanstaaf")]


async def test_cram_md5_answers_the_challenge() -> None:
    """The example of RFC 2195 section 2."""
    challenge = base64.b64encode(b"<1896.697170952@postoffice.reston.mci.net>").decode()
    server = _Server(f"334 {challenge}", "235 ok")
    await sign_in("cram-md5", Credentials("tim", "tanstaaftanstaaf"), server)
    assert base64.b64decode(server.said[1]) == b"tim b913a602c7eda7a495b4e6e7334d3890"


async def test_xoauth2_tells_why_it_refused() -> None:
    """The 334 holds the reason and wants an empty answer; the 535 after it only says no."""
    server = _Server("334 eyJzdGF0dXMiOiI0MDEifQ==", "535 5.7.8 refused")
    with pytest.raises(ServerRefused) as caught:
        await sign_in("xoauth2", _ADA, server)
    assert server.said[1] == b""
    assert caught.value.reply.enhanced == "5.7.8"
    assert caught.value.reply.text == 'refused {"status":"401"}'


@pytest.mark.parametrize("mechanism", ["plain", "login", "cram-md5"])
async def test_a_server_that_asks_on_and_on_is_left(mechanism: str) -> None:
    """RFC 4954 section 4: an asterisk cancels."""
    challenge = base64.b64encode(b"<1@x>").decode()
    server = _Server(*[f"334 {challenge}"] * 3, "501 cancelled", "501 cancelled")
    with pytest.raises(ServerRefused):
        await sign_in(mechanism, _ADA, server)
    assert b"*" in server.said
    assert len(server.said) <= 4


async def test_a_challenge_that_is_no_base64_is_not_answered() -> None:
    """CRAM-MD5 is cancelled."""
    server = _Server("334 !!!", "501 cancelled")
    with pytest.raises(ServerRefused):
        await sign_in("cram-md5", _ADA, server)
    assert server.said[1] == b"*"


@pytest.mark.parametrize("shape", ["{}", "<{}>", "password {} is wrong"])
async def test_what_the_server_repeats_is_blacked_out(shape: str) -> None:
    """The password, and the lines it went in."""
    plain = base64.b64encode(b"\0ada\0tanstaaftanstaaf").decode()
    for secret in ("tanstaaftanstaaf", plain, base64.b64encode(b"tanstaaftanstaaf").decode()):
        with pytest.raises(ServerRefused) as caught:
            await sign_in("plain", _ADA, _Server("535 " + shape.format(secret)))
        assert secret not in str(caught.value)
        assert secret not in repr(caught.value.reply)


@pytest.mark.parametrize(
    ("wanted", "offered", "inside_tls", "chosen"),
    [
        ("auto", "xoauth2 login plain cram-md5", True, "plain"),
        ("auto", "login cram-md5", True, "login"),
        ("auto", "cram-md5", True, "cram-md5"),
        ("auto", "plain login cram-md5", False, "cram-md5"),
        ("xoauth2", "plain xoauth2", True, "xoauth2"),
    ],
)
def test_one_mechanism_is_chosen(wanted: str, offered: str, inside_tls: bool, chosen: str) -> None:
    """The plainest inside TLS, the one that shows least outside."""
    assert choose(wanted, Extensions(auth_mechanisms=tuple(offered.split())), inside_tls=inside_tls) == chosen


@pytest.mark.parametrize(
    ("wanted", "offered", "fault"),
    [
        ("auto", "", Fault.AUTH_NOT_OFFERED),
        ("auto", "xoauth2 oauthbearer", Fault.AUTH_NO_COMMON_MECHANISM),
        ("cram-md5", "plain", Fault.AUTH_NO_COMMON_MECHANISM),
    ],
)
def test_without_a_common_mechanism_nothing_is_said(wanted: str, offered: str, fault: Fault) -> None:
    """And never another one than was asked for."""
    with pytest.raises(ConnectionFault) as caught:
        choose(wanted, Extensions(auth_mechanisms=tuple(offered.split())), inside_tls=True)
    assert caught.value.fault is fault
