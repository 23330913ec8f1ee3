"""What becomes of a submission: the message that is kept of a copy, and the result for each recipient."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import attrs

from genie_connect.model.frozen import FrozenMap
from genie_connect.model.merge import Texts, template_of_texts
from genie_connect.model.provider_template import ProviderTemplate
from genie_connect_contrib.sandbox.behaviour import Refusal
from genie_connect_contrib.sandbox.records import Copy, Result, SandboxMessage, Submission

_REFUSED = {
    Refusal.HARD: (550, "5.1.1", "there is no such mailbox here"),
    Refusal.SOFT: (451, "4.2.1", "the mailbox takes no mail right now"),
    Refusal.BLOCKED: (550, "5.7.1", "mail from this sender is blocked"),
}


def result_of(message_id: str, recipient: str, refused: Refusal | None, number: str) -> Result:
    """What the submission's answer says of a recipient: refused like this, or accepted under that number."""
    if refused is None:
        return Result(message_id=message_id, recipient=recipient, status="accepted", id=number)
    code, enhanced, text = _REFUSED[refused]
    return Result(
        message_id=message_id,
        recipient=recipient,
        status="refused",
        kind=refused,
        code=code,
        enhanced=enhanced,
        text=text,
    )


def message_of(
    submission: Submission, copy: Copy, accepted: tuple[str, ...], number: str, attempt: str | None
) -> SandboxMessage:
    """The message of a copy, as it is kept for those who were accepted. Raises as ``texts_of`` does."""
    shown = {mailbox.email.lower() for mailbox in (*copy.to, *copy.cc)}
    texts = texts_of(submission, copy)
    return SandboxMessage(
        id=number,
        message_id=copy.message_id,
        attempt=attempt,
        received_at=datetime.now(UTC),
        from_=submission.from_,
        envelope_from=submission.envelope_from,
        recipients=accepted,
        to=copy.to,
        cc=copy.cc,
        bcc=tuple(each for each in accepted if each.lower() not in shown),
        reply_to=submission.reply_to,
        subject=texts.subject,
        text=texts.text,
        html=texts.html,
        attachments=submission.attachments,
        headers=FrozenMap({**_not_replaced(texts.headers, copy.headers), **copy.headers}),
        tags=submission.tags,
        metadata=FrozenMap({**submission.metadata, **copy.metadata}),
        amp=texts.amp,
        template=_template(submission, copy),
        send_at=submission.send_at,
        track_opens=submission.track_opens,
        track_clicks=submission.track_clicks,
        options=submission.options,
    )


def _template(submission: Submission, copy: Copy) -> ProviderTemplate | None:
    template = submission.template
    if template is None or not copy.merge:
        return template
    return attrs.evolve(template, data=FrozenMap({**template.data, **copy.merge}))


def texts_of(submission: Submission, copy: Copy) -> Texts:
    """What the copy says. Raises ``ValidationError`` for a field without a value, or a value that does not fit."""
    texts = Texts(
        subject=submission.subject,
        text=submission.text,
        html=submission.html,
        headers=submission.headers,
        amp=submission.amp,
    )
    return texts if copy.merge is None else template_of_texts(texts).texts(copy.merge, copy.headers)


def _not_replaced(headers: Mapping[str, str], by: Mapping[str, str]) -> dict[str, str]:
    replaced = {name.lower() for name in by}
    return {name: value for name, value in headers.items() if name.lower() not in replaced}


def size_bytes(submission: Submission) -> int:
    """How large the message is taken to be, with its files in base64 (RFC 2045 section 6.8)."""
    bodies = sum(len(body.encode()) for body in (submission.text, submission.html) if body is not None)
    return bodies + sum(len(file.content) * 4 // 3 for file in submission.attachments)
