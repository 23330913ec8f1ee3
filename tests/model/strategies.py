"""Values of the model for property tests, all of them valid."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import strategies as st

from genie_connect.errors import ValidationError
from genie_connect.model import text
from genie_connect.model.address import Address
from genie_connect.model.attachment import Attachment
from genie_connect.model.batch import Recipient
from genie_connect.model.capability import Capability, CapabilityTable, Level
from genie_connect.model.diagnosis import Diagnosis, Status, Step
from genie_connect.model.event import BounceClass, Event, EventKind, Reason
from genie_connect.model.frozen import FrozenMap
from genie_connect.model.inbound import InboundFile, InboundMessage
from genie_connect.model.message import Message, Purpose
from genie_connect.model.outcome import Outcome, Outcomes, Retry, Scope, State
from genie_connect.model.plan import Emulated, PassedOver, Plan
from genie_connect.model.receipt import Attempt, DoubtfulCopy, Receipt

LINES = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cf", "Zl", "Zp"]), max_size=40).filter(
    lambda line: text.line_problem(line) is None
)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=40)
BODIES = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=60)
KEYS = st.from_regex(r"[A-Za-z][A-Za-z0-9_.-]{0,10}", fullmatch=True)
TIMES = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 # hypothesis adds the zone
OPTIONAL = st.none() | TEXTS
NUMBERS = st.floats(0, 1e9, allow_nan=False)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
LOCALS = st.from_regex(r"[a-z0-9+_-]{1,10}(\.[a-z0-9]{1,5})?", fullmatch=True)
DOMAINS = st.sampled_from(["example.com", "b\u00fccher.example", "a.b.example.org"])
ADDRESSES = st.builds(Address, name=LINES, local=LOCALS, domain=DOMAINS)
EMAILS = ADDRESSES.map(lambda address: address.email)
METADATA = st.dictionaries(KEYS, LINES, max_size=3).map(FrozenMap)
HEADERS = st.dictionaries(KEYS.map("X-{}".format), LINES.filter(str.strip), max_size=3).filter(
    lambda headers: len({name.lower() for name in headers}) == len(headers)
)


def _attachment(filename: str, content: bytes, content_type: str, content_id: str | None) -> Attachment:
    try:
        return Attachment(filename=filename, content=content, content_type=content_type, content_id=content_id)
    except ValidationError:
        return Attachment(filename="a.bin", content=content, content_type=content_type)


FILES = st.builds(_attachment, LINES, st.binary(max_size=40), st.sampled_from(["", "image/png"]), st.none())
TAGS = st.lists(st.from_regex(r"[a-z][a-z0-9 ]{0,8}[a-z0-9]", fullmatch=True), max_size=3)

MESSAGES = st.builds(
    Message,
    from_=st.none() | ADDRESSES,
    to=st.lists(ADDRESSES, max_size=3),
    cc=st.lists(ADDRESSES, max_size=2),
    bcc=st.lists(ADDRESSES, max_size=2),
    reply_to=st.lists(ADDRESSES, max_size=2),
    envelope_from=st.none() | ADDRESSES,
    subject=LINES,
    text=BODIES,
    html=st.none() | BODIES.filter(lambda html: "cid:" not in html),
    attachments=st.lists(FILES, max_size=2),
    headers=HEADERS,
    tags=TAGS,
    metadata=METADATA,
    purpose=st.sampled_from(Purpose),
)
RECIPIENTS = st.builds(Recipient, address=ADDRESSES, merge=METADATA, headers=HEADERS, metadata=METADATA)


@st.composite
def outcomes(draw: st.DrawFn) -> Outcome:
    """An outcome; only deferred and rejected ones may ask for another attempt."""
    state = draw(st.sampled_from(State))
    again = state in (State.DEFERRED, State.REJECTED)
    return Outcome(
        recipient=draw(EMAILS),
        state=state,
        connection=draw(OPTIONAL),
        stage=draw(TEXTS),
        code=draw(st.none() | st.integers(200, 599)),
        enhanced=draw(st.none() | st.just("5.1.1")),
        text=draw(OPTIONAL),
        reason=draw(OPTIONAL),
        hint=draw(OPTIONAL),
        scope=draw(st.sampled_from(Scope)),
        retry=draw(st.sampled_from(Retry)) if again else Retry.NEVER,
        retry_after_s=draw(st.none() | NUMBERS),
        provider_id=draw(OPTIONAL),
        suppress=draw(st.booleans()),
    )


OUTCOME_MAPS = st.lists(outcomes(), max_size=3).map(lambda items: Outcomes({item.recipient: item for item in items}))
PLANS = st.builds(
    Plan,
    order=st.lists(TEXTS, max_size=3).map(tuple),
    passed_over=st.lists(
        st.builds(PassedOver, connection=TEXTS, reasons=st.lists(TEXTS, max_size=2).map(tuple)), max_size=2
    ).map(tuple),
    emulated=st.lists(st.builds(Emulated, connection=TEXTS, capability=TEXTS, how=TEXTS), max_size=2).map(tuple),
    chunk=st.none() | st.integers(1, 1000),
)
ATTEMPTS = st.builds(
    Attempt,
    id=TEXTS,
    connection=TEXTS,
    stage=TEXTS,
    outcome=TEXTS,
    reason=OPTIONAL,
    text=OPTIONAL,
    hint=OPTIONAL,
    recipients=st.integers(0, 10**6),
    ms=st.integers(0, 10**9),
    started=st.none() | TIMES,
    in_doubt=st.lists(st.builds(DoubtfulCopy, message_id=TEXTS, recipient=TEXTS), max_size=2).map(tuple),
)
RECEIPTS = st.builds(
    Receipt,
    message_id=TEXTS,
    outcomes=OUTCOME_MAPS,
    attempts=st.lists(ATTEMPTS, max_size=2).map(tuple),
    plan=PLANS,
)
INBOUND = st.builds(
    InboundMessage,
    sender=st.none() | ADDRESSES,
    to=st.lists(ADDRESSES, max_size=2).map(tuple),
    subject=TEXTS,
    date=st.none() | TIMES,
    message_id=OPTIONAL,
    text=OPTIONAL,
    headers=st.lists(st.tuples(TEXTS, TEXTS), max_size=2).map(tuple),
    files=st.lists(st.builds(InboundFile, filename=TEXTS, content=st.binary(max_size=9)), max_size=2).map(tuple),
    spam=st.none() | st.booleans(),
)
EVENTS = st.builds(
    Event,
    id=TEXTS.filter(bool),
    kind=st.sampled_from(EventKind),
    time=TIMES,
    recipient=OPTIONAL,
    message_id=OPTIONAL,
    provider_id=OPTIONAL,
    bounce=st.none() | st.sampled_from(BounceClass),
    reason=st.none() | st.sampled_from(Reason),
    code=st.none() | st.integers(),
    enhanced=OPTIONAL,
    text=OPTIONAL,
    url=OPTIONAL,
    user_agent=OPTIONAL,
    machine=st.booleans(),
    tags=st.lists(TEXTS, max_size=3).map(tuple),
    metadata=METADATA,
    inbound=st.none() | INBOUND,
    raw=st.dictionaries(TEXTS, JSON, max_size=3).map(FrozenMap),
    error=OPTIONAL,
)
CAPABILITY_TABLES = st.builds(
    CapabilityTable,
    connector=TEXTS,
    entries=st.lists(
        st.builds(
            Capability,
            name=KEYS,
            level=st.sampled_from(Level),
            note=TEXTS,
            limits=st.dictionaries(KEYS, st.integers(0), max_size=2).map(FrozenMap),
            support=TEXTS,
        ),
        max_size=4,
        unique_by=lambda entry: entry.name,
    ).map(tuple),
    effective=st.booleans(),
)
DIAGNOSES = st.builds(
    Diagnosis,
    code=TEXTS,
    title=TEXTS,
    cause=TEXTS,
    evidence=TEXTS,
    fixes=st.lists(TEXTS, max_size=2).map(tuple),
    field=OPTIONAL,
    server_reply=OPTIONAL,
    docs_url=OPTIONAL,
)
STEPS = st.builds(
    Step,
    id=TEXTS,
    title=TEXTS,
    status=st.sampled_from(Status),
    summary=TEXTS,
    facts=st.dictionaries(TEXTS, JSON, max_size=3).map(FrozenMap),
    ms=NUMBERS,
    diagnosis=st.none() | DIAGNOSES,
)
EVERYTHING = {
    Message: MESSAGES,
    Recipient: RECIPIENTS,
    Outcome: outcomes(),
    Outcomes: OUTCOME_MAPS,
    Receipt: RECEIPTS,
    Plan: PLANS,
    Event: EVENTS,
    CapabilityTable: CAPABILITY_TABLES,
    Diagnosis: DIAGNOSES,
    Step: STEPS,
}
