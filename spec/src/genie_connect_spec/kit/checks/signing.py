"""DKIM, for connectors that sign what they send: whatever arrives verifies, with the keys of the settings.

PYTEST_DONT_REWRITE: each assertion says itself what is wrong.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import attrs

from genie_connect.errors import GenieConnectError, SettingsError
from genie_connect.model.diagnosis import Status, Step
from genie_connect.model.message import Message
from genie_connect.model.outcome import State
from genie_connect_spec.kit.check import Force, NotApplicable, check, needs
from genie_connect_spec.kit.conversation import Exchange, exchange, offers, server_of
from genie_connect_spec.kit.letters import letter
from genie_connect_spec.kit.rig import Rig
from genie_connect_spec.kit.signatures import Signature, SigningKey, signatures, signing_keys
from genie_connect_spec.smtp_script import Rule

SENDS: Final = ("GC-SEND-001",)
SIGNS: Final = ("GC-SMTP-060",)
_SHOWN: Final = ("from", "to", "subject", "date", "message-id", "mime-version", "content-type")


def _keys() -> tuple[SigningKey, SigningKey]:
    try:
        return signing_keys()
    except ModuleNotFoundError:
        raise NotApplicable("keys need cryptography: pip install 'genie-connect-spec[tls]'") from None


@contextmanager
def _set_up(rig: Rig, *keys: SigningKey) -> Iterator[dict[str, Any]]:
    """The settings as data, while the files with the keys are there."""
    server_of(rig)
    with tempfile.TemporaryDirectory() as folder:
        placed = []
        for number, key in enumerate(keys):
            file = Path(folder, f"{number}.pem")
            file.write_text(key.private_key)
            placed.append(attrs.evolve(key, reference=f"file:{file}"))
        data = rig.contract.signed(rig.data, placed)
        needs(data, "its contract names no settings that sign")
        yield data


@contextmanager
def _signing(rig: Rig, *keys: SigningKey) -> Iterator[Any]:
    """The settings, checked."""
    with _set_up(rig, *keys) as data:
        yield rig.structured(data)


def _looked_at(seen: Exchange, keys: Sequence[SigningKey]) -> list[list[Signature]]:
    """The signatures of each message, all of which verify."""
    wrong = [outcome for outcome in seen.outcomes if outcome.state is not State.ACCEPTED]
    assert not wrong, f"what is signed is taken, and the outcome is {wrong[0]}"
    found = []
    for message in seen.taken:
        every = signatures(message.data, keys)
        assert len(every) == len(keys), f"there are {len(keys)} keys, and a message has {len(every)} signatures"
        faults = [each.fault for each in every if each.fault]
        assert not faults, f"a signature does not verify: {faults[0]}"
        found.append(every)
    assert found, "nothing was handed over"
    return found


def _letters(rig: Rig) -> list[Message]:
    to = "reader00@example.com"
    texts = (
        "It is on its way.\n",
        ".\n..\n. dots\n.\n\n\n",
        "Grüße   aus\tKöln \n",
        "x" * 3000,
        "a line of many\n" * 8000,
    )
    found = [letter(to, text=text) for text in texts] + [
        letter(to, subject="Ein sehr langer Betreff   mit Lücken" + " und mehr" * 20),
        letter(to, '"Lovelace, Ada" <ada@example.com>'),
    ]
    if rig.declares("send.headers"):
        found.append(letter(to, headers={"X-Kit": "one", "List-Id": "<kit.example.com>"}))
    if rig.declares("send.html"):
        found.append(letter(to, html="<p>Grüße  </p>\n"))
    return found


@check("GC-SMTP-060", after=SENDS)
async def what_arrives_is_what_was_signed(rig: Rig) -> None:
    """A signature over something else than what arrives is worse than none: DMARC refuses the message."""
    rsa, _ = _keys()
    servers: tuple[tuple[Rule, ...], ...] = ((), (offers(),), (offers("8BITMIME", "SMTPUTF8"),))
    with _signing(rig, rsa) as settings:
        for server in servers:
            for message in _letters(rig) if server is servers[0] else _letters(rig)[:3]:
                _looked_at(await exchange(rig, server, message=message, settings=settings), [rsa])
    unsigned = await exchange(rig, message=_letters(rig)[0])
    assert not signatures(unsigned.first.data, [rsa]), "it signs though no settings say so"


@check("GC-SMTP-061", after=SIGNS)
async def what_a_reader_sees_is_signed(rig: Rig) -> None:
    """What is not could be exchanged on the way, and the signature would still be good (RFC 6376 section 8.15)."""
    rsa, _ = _keys()
    with _signing(rig, rsa) as settings:
        ((found,),) = _looked_at(await exchange(rig, settings=settings), [rsa])
    missing = [name for name in _SHOWN if name not in found.names]
    assert not missing, f"{missing[0]} is not signed"
    assert "l" not in found.tags, "with l= anybody can add to the body"
    assert found.names.count("from") > 1, "a second From can be added, and the signature is still good"


@check("GC-SMTP-062", after=SIGNS)
async def each_copy_has_signatures_of_its_own(rig: Rig) -> None:
    """With all keys that there are, in a broadcast as well."""
    keys = _keys()
    with _signing(rig, *keys) as settings:
        ((first, second),) = _looked_at(await exchange(rig, settings=settings), keys)
        assert first.tags["s"] != second.tags["s"], "there are two keys, and one has signed twice"
        needs(rig.declares("send.broadcast"), "it declares no send.broadcast")
        for server in ((offers("PIPELINING", "CHUNKING"),), (offers(),)):
            seen = await exchange(rig, server, copies=12, settings=settings)
            count = len(_looked_at(seen, keys))
            assert count == 12, f"12 copies were to be signed, and {count} messages left"
            seen.agree()


@check("GC-SMTP-063", after=SIGNS)
async def a_key_that_is_none_is_found(rig: Rig) -> None:
    """Before anything leaves without a signature, and by the setting that it stands in."""
    rsa, ed = _keys()
    pem = rsa.private_key
    wrong = ("no key at all", pem.replace("PRIVATE", "PUBLIC"), "\n".join(pem.splitlines()[:9]))
    pairs: list[tuple[SigningKey, ...]] = [(attrs.evolve(rsa, private_key=each),) for each in wrong]
    pairs += [(rsa, attrs.evolve(ed, private_key=each)) for each in wrong]
    for keys in pairs:
        with _set_up(rig, *keys) as data:
            await _finds_the_last_key(rig, data, len(keys), "is no key")
    # Whoever takes keys of any kind may sign with a second RSA key, where others have a place for Ed25519 alone.
    both = (rsa, attrs.evolve(rsa, selector=ed.selector))
    with _set_up(rig, *both) as data:
        if not await _signs(rig, data, both):
            await _finds_the_last_key(rig, data, len(both), "is an RSA key")


async def _signs(rig: Rig, data: dict[str, Any], keys: Sequence[SigningKey]) -> bool:
    """Whether a message leaves with these settings, which then has a signature of each key."""
    try:
        seen = await exchange(rig, settings=rig.structured(data))
    except GenieConnectError:
        return False
    if seen.taken:
        _looked_at(seen, keys)
    return bool(seen.taken)


async def _finds_the_last_key(rig: Rig, data: dict[str, Any], count: int, what: str) -> None:
    said = f"key {count} {what}, and"
    try:
        settings = rig.structured(data)
    except SettingsError as error:
        named: str | None = error.problems[0].path
    else:
        server_of(rig).forget()
        last = (await rig.steps(settings))[-1]
        assert last.status is Status.FAIL, f"{said} the test ends as {last.status}"
        assert last.diagnosis is not None, f"{said} the failed step has no diagnosis"
        assert last.diagnosis.fixes, f"{said} the diagnosis has no advice"
        named = last.diagnosis.field
        with suppress(GenieConnectError):
            await exchange(rig, settings=settings)
        assert not server_of(rig).taken, f"{said} a message left all the same"
    value = str(data.get(named or "", ""))
    assert value.endswith(f"{count - 1}.pem") or "PRIVATE KEY" in value or "no key" in value, (
        f"{said} the setting that is named is {named}"
    )


@check("GC-SMTP-064", force=Force.SHOULD, after=SIGNS)
async def a_test_tells_what_to_publish(rig: Rig) -> None:
    """A signature whose key nobody can look up is none; the record is long, and nobody types it without a fault."""
    keys = _keys()
    to = "reader00@example.com"
    # What it says of a server without TLS, say, has nothing to do with keys.
    usual = {(step.id, step.status) for step in await rig.steps()}
    with _signing(rig, keys[0]) as settings:
        first = _but_for(usual, await rig.steps(settings))
    assert not first, f"the key is good, and the step {first[0].id} ends as {first[0].status}"
    with _signing(rig, *keys) as settings:
        steps = await rig.steps(settings, send_to=to if rig.declares("test.message") else None)
    told = {name: str(value) for step in steps for name, value in step.facts.items()}
    for key in keys:
        name = f"{key.selector}._domainkey.{key.domain}"
        records = [value for said, value in told.items() if name in said or name in value]
        assert records, f"no fact of a step names the record {name}"
        # Published as RFC 8463 section 4 has it, or as a whole SubjectPublicKeyInfo, which has it at its end.
        text = key.published[-40:]
        assert any(text in record.replace('"', "").replace(" ", "") for record in records), (
            f"no fact of a step has the public key that belongs to {name}"
        )
    wrong = _but_for(usual, steps)
    assert not wrong, f"the keys are good, and the step {wrong[0].id} ends as {wrong[0].status}"
    for message in server_of(rig).taken:
        found = signatures(message.data, keys)
        assert [each.fault for each in found] == ["", ""], f"the test message is not signed with both keys: {found}"


def _but_for(usual: set[tuple[str, Status]], steps: Sequence[Step]) -> list[Step]:
    """Those that went wrong, and do not where nothing is signed."""
    return [step for step in steps if step.status in (Status.FAIL, Status.WARN) and (step.id, step.status) not in usual]


@check("GC-SMTP-065", force=Force.SHOULD, after=SIGNS)
async def what_is_signed_is_ascii(rig: Rig) -> None:
    """A relay without 8BITMIME would write it anew, and break the signature (RFC 6376 section 5.3)."""
    rsa, _ = _keys()
    message = letter("reader00@example.com", subject="Grüße", text="Grüße aus Köln\n")
    with _signing(rig, rsa) as settings:
        seen = await exchange(rig, [offers("8BITMIME")], message=message, settings=settings)
    assert seen.first.data.isascii(), "what is signed is not ASCII, and may be encoded anew on the way"
