"""Values leave as JSON and come back as they were; what is not such JSON is refused with all its faults."""

from __future__ import annotations

import copy
import json
import pickle
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from genie_connect.errors import ValidationError
from genie_connect.model.attachment import Attachment
from genie_connect.model.batch import Batch, Cleared, Delivery, Recipient
from genie_connect.model.capability import CapabilityTable
from genie_connect.model.codec import structure, unstructure, unstructure_said
from genie_connect.model.diagnosis import Step
from genie_connect.model.event import Event
from genie_connect.model.message import Message
from genie_connect.model.outcome import Outcome, Outcomes
from genie_connect.model.receipt import Receipt
from genie_connect.model.secret import Secret
from tests.mime.making import batch_of
from tests.model.strategies import EVERYTHING

slow = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None)


@pytest.mark.parametrize("cls", EVERYTHING, ids=lambda cls: cls.__name__)
def test_comes_back_from_json(cls: type) -> None:
    """A value through JSON text is the value."""

    @settings(slow, max_examples=40)
    @given(value=EVERYTHING[cls])
    def check(value: Any) -> None:
        data = json.loads(json.dumps(unstructure(value)))
        assert structure(cls, data) == value
        assert unstructure(structure(cls, data)) == data

    check()


@slow
@given(message=EVERYTHING[Message])
def test_what_a_message_says_is_the_message(message: Message) -> None:
    """Without the fields that say nothing it is read back as it was, and no other field is left out."""
    said = unstructure_said(message)
    assert structure(Message, json.loads(json.dumps(said))) == message
    whole = unstructure(message)
    assert said == {name: whole[name] for name in whole if whole[name] not in (None, [], {})}


@pytest.mark.parametrize("cls", EVERYTHING, ids=lambda cls: cls.__name__)
def test_pickles_and_copies(cls: type) -> None:
    """A value through pickle, or copied, is the value."""

    @settings(slow, max_examples=20)
    @given(value=EVERYTHING[cls])
    def check(value: Any) -> None:
        assert pickle.loads(pickle.dumps(value)) == value
        assert copy.deepcopy(value) == value

    check()


_MESSAGE = {"to": ["bob@example.org"], "text": "x"}


@pytest.mark.parametrize(
    ("cls", "data", "paths"),
    [
        (Message, {**_MESSAGE, "subject": 1}, {"subject"}),
        (Message, {**_MESSAGE, "subject": True}, {"subject"}),
        (Message, {**_MESSAGE, "text": ["x"]}, {"text"}),
        (Message, {**_MESSAGE, "tags": "abc"}, {"tags"}),
        (Message, {**_MESSAGE, "tags": {"a": 1}}, {"tags"}),
        (Message, {**_MESSAGE, "to": 1}, {"to"}),
        (Message, {**_MESSAGE, "to": {"email": "a@example.org"}}, {"to"}),
        (Message, {**_MESSAGE, "to": ["a@example.org", None, 3]}, {"to[1]", "to[2]"}),
        (Message, {**_MESSAGE, "headers": ["X-A"]}, {"headers"}),
        (Message, {**_MESSAGE, "headers": {"X-A": 1}}, {"headers.X-A"}),
        (Message, {**_MESSAGE, "metadata": {"a": True}}, {"metadata.a"}),
        (Message, {**_MESSAGE, "purpose": "spam"}, {"purpose"}),
        (Message, {**_MESSAGE, "purpose": None}, {"purpose"}),
        (Message, {**_MESSAGE, "attachment": []}, {"attachment"}),
        (Message, {**_MESSAGE, "from_": "a@example.org"}, {"from_"}),
        (Message, [], {""}),
        (Message, "x", {""}),
        (Message, None, {""}),
        (Recipient, {}, {"address"}),
        (Outcome, {"recipient": "a@example.org", "state": "ACCEPTED"}, {"state"}),
        (Outcome, {"recipient": "a@example.org", "state": "accepted", "code": True}, {"code"}),
        (Outcome, {"recipient": "a@example.org", "state": "accepted", "code": "250"}, {"code"}),
        (Outcome, {"recipient": "a@example.org", "state": "accepted", "code": 2.5}, {"code"}),
        (Outcome, {"recipient": "a@example.org", "state": "accepted", "suppress": "false"}, {"suppress"}),
        (Outcome, {"recipient": "a@example.org", "state": "accepted", "suppress": 0}, {"suppress"}),
        (Outcome, {"recipient": "a@example.org", "state": "deferred", "retry_after_s": "1"}, {"retry_after_s"}),
        (Outcome, {"recipient": "a@example.org", "state": "deferred", "retry_after_s": True}, {"retry_after_s"}),
        (Event, {"id": "1", "kind": "opened", "time": "2026-11-23"}, {"time"}),
        (Event, {"id": "1", "kind": "opened", "time": 1}, {"time"}),
        (Event, {"id": "1", "kind": "opened", "time": "2026-11-23T10:00:00"}, {"time"}),
        (
            CapabilityTable,
            {"connector": "x", "entries": [{"name": "a"}, {"level": "no"}]},
            {
                "entries[0].level",
                "entries[1].name",
            },
        ),
        (Step, {"id": "a", "title": "b", "status": "ok", "ms": False}, {"ms"}),
    ],
)
def test_nothing_is_converted_silently(cls: type, data: Any, paths: set[str]) -> None:
    """Each wrong type or unknown key is refused under its path."""
    with pytest.raises(ValidationError) as refused:
        structure(cls, data)
    assert {problem.path for problem in refused.value.problems} == paths


def test_all_problems_at_once() -> None:
    """Wrong types, unknown keys, missing keys and bad values are found in one go, each under its path."""
    with pytest.raises(ValidationError) as refused:
        structure(
            Message,
            {
                "to": ["bob@example.org", "nobody", "a@b@c"],
                "cc": "x, y",
                "subject": "a\r\nBcc: b",
                "text": 5,
                "headers": {"Bcc": "x", "X-Good": "1", "X-Bad": "a\nb"},
                "attachments": [
                    {"filename": "a\nb", "content": "%%"},
                    {"content": ""},
                    {"filename": "c", "path": "/x"},
                ],
                "tags": ["ok", "a,b"],
                "metadata": {"1": "x"},
                "bcc_to": "x",
            },
        )
    assert {problem.path for problem in refused.value.problems} == {
        "to[1]",
        "to[2]",
        "cc[0]",
        "subject",
        "text",
        "headers['Bcc']",
        "headers['X-Bad']",
        "attachments[0].filename",
        "attachments[0].content",
        "attachments[1].filename",
        "attachments[2].content",
        "attachments[2].path",
        "tags[1]",
        "metadata['1']",
        "bcc_to",
    }


def test_all_problems_of_a_message_made_in_python() -> None:
    """The same holds for a message that is not made from JSON."""
    with pytest.raises(ValidationError) as refused:
        Message(to=["bob@example.org", "nobody"], subject="a\nb", headers={"Subject": "x"}, tags=["a,b"], text="\x00")
    assert {problem.path for problem in refused.value.problems} == {
        "to[1]",
        "subject",
        "headers['Subject']",
        "tags[0]",
        "text",
    }


def test_rules_between_fields() -> None:
    """What fits field by field may not fit together, and says so."""
    with pytest.raises(ValidationError, match="nothing to send"):
        Message(to="bob@example.org")
    with pytest.raises(ValidationError, match="cid:logo, which is not attached"):
        Message(to="bob@example.org", html='<img src="cid:logo">')
    image = Attachment(filename="a.png", content=b"x", content_id="logo")
    with pytest.raises(ValidationError, match="needs an HTML body"):
        Message(to="bob@example.org", text="x", attachments=[image])
    with pytest.raises(ValidationError, match="two inline images"):
        Message(to="bob@example.org", html='<img src="cid:logo">', attachments=[image, image])


@pytest.mark.parametrize("cls", [Batch, Delivery, Cleared])
def test_recipients_are_not_cleared_by_data(cls: type) -> None:
    """No JSON makes something that only the suppression gate may make."""
    batch = batch_of(Message(to="bob@example.org", text="x"))
    with pytest.raises(ValidationError, match="suppression gate"):
        structure(cls, unstructure(batch))


def test_recipients_are_not_cleared_by_hand() -> None:
    """Nor does a call without what the gate alone has."""
    with pytest.raises(TypeError, match="gate"):
        Cleared(Message(to="bob@example.org", text="x").to[0], object())


@pytest.mark.parametrize(
    "content", ["/etc/passwd", "http://192.0.2.1/x", {"path": "/etc/passwd"}, {"href": "x"}, 5, None]
)
def test_data_names_no_file_and_no_url(content: Any) -> None:
    """Content is bytes in base64; nothing is opened on behalf of who wrote the JSON."""
    with pytest.raises(ValidationError) as refused:
        structure(Message, {**_MESSAGE, "attachments": [{"filename": "a", "content": content}]})
    assert {problem.path for problem in refused.value.problems} == {"attachments[0].content"}


def test_file_content_leaves_as_its_bytes(tmp_path: Path) -> None:
    """A message with a file on disk is in JSON the message with its content."""
    path = tmp_path / "a.txt"
    path.write_bytes(b"content")
    on_disk = Message(to="bob@example.org", text="x", attachments=[Attachment.from_path(path)])
    assert structure(Message, unstructure(on_disk)).attachments[0].read() == b"content"
    assert structure(Message, unstructure(on_disk)) == on_disk


@slow
@given(text=st.text())
def test_outcome_text_is_safe_to_show(text: str) -> None:
    """What a server said holds no control when it is kept, and is not endless."""
    outcome = Outcome(recipient="a@example.org", state="accepted", text=text * 50)  # type: ignore[arg-type]
    assert outcome.text is not None
    assert len(outcome.text) <= 1000
    assert outcome.text.isprintable() or not any(
        ord(letter) < 32 or 127 <= ord(letter) < 160 for letter in outcome.text
    )


def test_outcomes_are_found_by_any_spelling() -> None:
    """Case, name and IDNA form do not matter to whom an outcome belongs."""
    outcomes = structure(Outcomes, {"Bob@B\u00fccher.example": {"state": "accepted"}})
    assert outcomes["bob@xn--bcher-kva.example"].state == "accepted"
    assert "Bob <BOB@b\u00fccher.example>" in outcomes


def test_receipt_knows_whether_all_went_well() -> None:
    """A receipt is accepted when everybody who was not suppressed was."""
    data = {"message_id": "<1@x>", "attempts": [], "plan": {}}
    good = {"a@example.org": {"state": "accepted", "connection": "one"}, "b@example.org": {"state": "suppressed"}}
    assert structure(Receipt, {**data, "outcomes": good}).accepted
    assert structure(Receipt, {**data, "outcomes": good}).connection == "one"
    assert not structure(Receipt, {**data, "outcomes": good | {"c@example.org": {"state": "unknown"}}}).accepted
    assert not structure(Receipt, {**data, "outcomes": {}}).accepted


def test_time_is_kept_in_utc() -> None:
    """A time with another offset is the same moment in UTC."""
    event = structure(Event, {"id": "1", "kind": "opened", "time": "2026-11-23T12:00:00+02:00"})
    assert event.time == datetime.fromisoformat("2026-11-23T10:00:00+00:00")
    assert unstructure(event)["time"] == "2026-11-23T10:00:00+00:00"


def test_secret_leaves_masked() -> None:
    """No codec brings a secret into JSON."""
    assert unstructure(Secret("hunter2")) == "***"
    assert unstructure(Secret("env:PASSWORD")) == "env:PASSWORD"
