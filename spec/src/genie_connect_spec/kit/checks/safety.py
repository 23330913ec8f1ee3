"""Safety: secrets stay secret, nobody else is talked to, and what a message says stays what it says.

PYTEST_DONT_REWRITE: each assertion says itself what is wrong.
"""

from __future__ import annotations

import io
import logging
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from email import message_from_bytes, policy
from typing import Any, Final

import attrs

from genie_connect.contract import Kind
from genie_connect.model.capability import Level
from genie_connect.model.codec import unstructure
from genie_connect_spec.kit import traffic
from genie_connect_spec.kit.behaviour import Behaviour
from genie_connect_spec.kit.check import check, needs
from genie_connect_spec.kit.checks.failures import nowhere
from genie_connect_spec.kit.http_provider import ELSEWHERE, HttpProvider
from genie_connect_spec.kit.letters import batch_of, letter
from genie_connect_spec.kit.rig import SHORT_S, Rig

SENDS: Final = ("GC-SEND-001",)
TESTS: Final = ("GC-TEST-001",)
_MOODS: Final = (
    Behaviour.NORMAL,
    Behaviour.CLOSED,
    Behaviour.BROKEN,
    Behaviour.GARBAGE,
    Behaviour.UNAUTHORIZED,
    Behaviour.THROTTLED,
)


class _Log(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        # Arguments too: a handler for structured logs keeps those.
        self.said.append(f"{text} {record.args!r} {vars(record)!r}")


@contextmanager
def _logged() -> Iterator[list[str]]:
    handler, root = _Log(), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield handler.said
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


@attrs.frozen(kw_only=True)
class _Life:
    """What came of a send at a provider in each mood, and of a test there; and what was logged and printed over it."""

    results: list[Any]
    logged: list[str]
    printed: str


async def _life(rig: Rig) -> _Life:
    """One life for all checks that look at it."""
    known = rig.contract.probes
    if "life" not in known:
        said = io.StringIO()
        with _logged() as logged, redirect_stdout(said), redirect_stderr(said):
            results = [result async for result in _lived(rig)]
        known["life"] = _Life(results=results, logged=logged, printed=said.getvalue())
    life: _Life = known["life"]
    return life


async def _lived(rig: Rig) -> AsyncIterator[Any]:
    for mood in _MOODS:
        if rig.provider.can(mood):
            rig.provider.behave(mood)
            async with rig.opened() as state:
                try:
                    yield await rig.raw_send(state, await batch_of(letter()), rig.context(SHORT_S))
                except Exception as error:  # noqa: BLE001  # its text is what the check looks at
                    yield error
            rig.provider.behave(mood, everywhere=True)
            try:
                yield await rig.steps(deadline_s=1.0)
            except Exception as error:  # noqa: BLE001
                yield error
    rig.provider.behave()


def _shown(rig: Rig, said: str) -> bool:
    return any(secret in said for secret in rig.canaries)


def _has_secrets(rig: Rig) -> None:
    needs(rig.canaries, "its settings hold no secret")


@check("GC-SAFE-001", after=SENDS)
async def no_secret_in_the_log(rig: Rig) -> None:
    """Logs are read by many, and kept for long: at every level, from every library."""
    _has_secrets(rig)
    found = [line for line in (await _life(rig)).logged if _shown(rig, line)]
    assert not found, f"a secret is in the log: {found[0].partition(' ')[0][:60]}..."


@check("GC-SAFE-002", after=SENDS)
async def no_secret_in_what_it_returns(rig: Rig) -> None:
    """Outcomes and steps are kept, shown and mailed around."""
    _has_secrets(rig)
    for result in (await _life(rig)).results:
        if not isinstance(result, BaseException):
            said = " ".join(f"{each!r} {unstructure(each)}" for each in result)
            assert not _shown(rig, said), "an outcome or a step shows a secret"


@check("GC-SAFE-003", after=SENDS)
async def no_secret_in_an_error(rig: Rig) -> None:
    """The text of an error, and of the errors behind it."""
    _has_secrets(rig)
    for result in (await _life(rig)).results:
        error = result if isinstance(result, BaseException) else None
        while error is not None:
            assert not _shown(rig, f"{error} {error!r} {error.args}"), f"a {type(error).__name__} shows a secret"
            error = error.__cause__ or error.__context__


@check("GC-SAFE-004", after=("GC-LIFE-001",))
async def no_secret_in_the_state(rig: Rig) -> None:
    """States are in tracebacks with local variables, as error trackers collect them."""
    _has_secrets(rig)
    async with rig.opened() as state:
        assert not _shown(rig, f"{state!r} {state}"), "the repr of the state shows a secret"


@check("GC-SAFE-005", after=SENDS)
async def no_secret_in_a_url(rig: Rig) -> None:
    """URLs are in the logs of every machine on the way."""
    _has_secrets(rig)
    provider = rig.provider
    needs(isinstance(provider, HttpProvider), "it speaks no HTTP")
    assert isinstance(provider, HttpProvider)
    async with rig.opened() as state:
        await rig.deliver_with(state, letter())
    await rig.steps()
    found = [request for request in provider.requests if _shown(rig, request.target)]
    assert not found, f"the URL of a {found[0].method} holds a secret"


@check("GC-SAFE-006", after=SENDS)
async def sending_talks_to_nobody_else(rig: Rig) -> None:
    """A message goes to the provider of the connection, and nowhere else on the way."""
    async with rig.opened() as state:
        with suppress(Exception):
            await rig.raw_send(state, await batch_of(letter()))
    assert not rig.guard.outside, f"while sending, it {rig.guard.outside[0]}"


@check("GC-SAFE-007", after=TESTS)
async def testing_talks_to_nobody_else(rig: Rig) -> None:
    """Nor does a test."""
    with suppress(Exception):
        await rig.steps()
    assert not rig.guard.outside, f"while testing, it {rig.guard.outside[0]}"


@check("GC-SAFE-008", after=SENDS)
async def it_runs_no_program(rig: Rig) -> None:
    """Nobody who installs a connector expects that."""
    async with rig.opened() as state:
        with suppress(Exception):
            await rig.raw_send(state, await batch_of(letter()))
    assert not rig.guard.programs, f"while sending, it {rig.guard.programs[0]}"


@check("GC-SAFE-009", after=SENDS)
async def the_environment_is_not_followed(rig: Rig) -> None:
    """A proxy in the environment would see the mail of all connections: settings come in as settings."""
    with nowhere() as (host, port):
        proxy = f"http://{host}:{port}"
        names = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
        before = {name: os.environ.get(name) for name in names}
        os.environ.update(dict.fromkeys(names, proxy))
        try:
            await rig.deliver(letter())
        except AssertionError:
            raise AssertionError("with a proxy in the environment the message does not arrive") from None
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


@check("GC-SAFE-010", after=SENDS)
async def a_redirection_is_not_followed(rig: Rig) -> None:
    """Another server would have the message, and the key with it."""
    rig.misbehave(Behaviour.REDIRECTING)
    async with rig.opened() as state:
        (outcome,) = await rig.send(state, await batch_of(letter()), rig.context(2.0))
    followed = [what for what in rig.guard.outside if f"{ELSEWHERE}" in what]
    assert not followed, f"the provider redirects, and it {followed[0]}"
    assert outcome.state != "accepted", "the provider redirects, and the outcome is accepted"


@check("GC-SAFE-011", after=SENDS)
async def it_says_nothing_itself(rig: Rig) -> None:
    """The output belongs to the host's program."""
    printed = (await _life(rig)).printed
    assert not printed, f"it prints {printed[:80]!r}"


_TRICKS: Final = (
    "%0d%0aBcc: evil@example.net",
    "\\r\\nBcc: evil@example.net",
    "a, evil@example.net",
    'a" <evil@example.net>, "',
    "</script><script>alert(1)</script>",
    "${jndi:ldap://127.0.0.1/a}",
    '{"bcc": "evil@example.net"}',
    "';DROP TABLE mail;--",
    "a" + "\u202e" + "b",
)
"""What the model lets through, since it is only text; it must be only text at the other end too."""


async def _is_only_text(rig: Rig, trick: str, **fields: Any) -> None:
    left = await rig.deliver(letter(**fields))
    assert traffic.holds(left.content, trick), f"{trick!r} did not arrive as it was written"
    assert "evil@example.net" not in left.recipients, f"{trick!r} made a recipient"
    if rig.kind is Kind.SMTP:
        parsed = message_from_bytes(left.content, policy=policy.default)
        assert parsed["bcc"] is None, f"{trick!r} made a header field"
        shown = [address.addr_spec for address in parsed["to"].addresses]
        assert shown == ["ada@example.com"], f"{trick!r} made a recipient in the header: {shown}"


@check("GC-SAFE-012", after=SENDS)
async def a_subject_is_only_text(rig: Rig) -> None:
    """It makes no header field, no recipient and no code."""
    for trick in _TRICKS:
        await _is_only_text(rig, trick, subject=trick)


@check("GC-SAFE-013", after=SENDS)
async def a_name_is_only_text(rig: Rig) -> None:
    """The name of a recipient is what people type into forms."""
    from genie_connect.model.address import Address

    for trick in _TRICKS[:7]:
        to = Address(local="ada", domain="example.com", name=trick)
        left = await rig.deliver(letter(to))  # type: ignore[arg-type]  # an address is as good as its text
        assert "evil@example.net" not in left.recipients, f"{trick!r} made a recipient"
        assert traffic.holds(left.content, trick), f"the name {trick!r} did not arrive as it was written"


@check("GC-SAFE-014", after=SENDS)
async def a_header_value_is_only_text(rig: Rig) -> None:
    """An own header field makes no second one."""
    needs(rig.declares("send.headers"), "it declares no send.headers")
    for trick in _TRICKS[:7]:
        await _is_only_text(rig, trick, headers={"X-Kit-Trick": trick})


@check("GC-SAFE-015", after=SENDS)
async def metadata_is_only_text(rig: Rig) -> None:
    """What is kept about a message does not change it. Conditions on what it may hold are kept by refusing."""
    needs(rig.declares("send.metadata"), "it declares no send.metadata")
    conditional = rig.table["send.metadata"].level is Level.CONDITIONAL
    for trick in _TRICKS[:7]:
        metadata = {"kit": trick}
        if not conditional or await rig.refusal(letter(metadata=metadata)) is None:
            await _is_only_text(rig, trick, metadata=metadata)


@check("GC-SAFE-016", after=SENDS)
async def secrets_go_to_the_provider_only_where_needed(rig: Rig) -> None:
    """The key authenticates the request; it is no part of the message that recipients get."""
    _has_secrets(rig)
    async with rig.opened() as state:
        await rig.deliver_with(state, letter())
    for left in rig.provider.handed_over:
        body = left.content.partition(b"\r\n\r\n")[2] if rig.kind is Kind.API else left.content
        assert not any(traffic.holds(body, secret) for secret in rig.canaries), "the message holds a secret"


@check("GC-SAFE-017", after=SENDS)
async def settings_come_in_as_settings(rig: Rig) -> None:
    """A variable of the environment that changes what is sent, or where to, is a setting that nobody sees."""
    before = dict(os.environ)
    prefix = rig.info.id.upper().replace("-", "_")
    names = ("API_KEY", "KEY", "TOKEN", "HOST", "PORT", "BASE_URL", "URL", "PASSWORD", "SECRET", "FROM")
    os.environ.update({f"{prefix}_{name}": "kit-canary-of-the-environment" for name in names})
    try:
        left = await rig.deliver(letter())
    finally:
        for name in set(os.environ) - set(before):
            del os.environ[name]
    assert not traffic.holds(left.content, "kit-canary-of-the-environment"), "the environment is in what left"
