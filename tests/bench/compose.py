"""What a copy with merge fields costs to compose: CPU time, nothing sent.

Every peer makes, for each recipient, a message with text and HTML of together about 2 KB, two fields in each, and To,
Date, Message-ID and List-Unsubscribe of its own; once as it is, once with a 100 KB attachment and a 10 KB inline image.
"""

from __future__ import annotations

import base64
import json
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from email import policy
from email.message import EmailMessage
from email.mime.application import MIMEApplication
from email.mime.image import MIMEImage
from email.mime.multipart import MIMEMultipart
from email.mime.nonmultipart import MIMENonMultipart
from email.mime.text import MIMEText
from email.utils import format_datetime
from html import escape
from itertools import cycle, islice
from pathlib import Path

from genie_connect import Address, Attachment, Batch, Delivery, Message
from genie_connect.mime import compile_message, compose
from genie_connect.model.frozen import FrozenMap
from tests.bench.smtp import message as messages
from tests.bench.smtp import nodemailer
from tests.bench.smtp.sinks import CannotRun
from tests.bench.table import Row, Table

ROUNDS = 9
COPIES = 500
ROUND_S = 0.25
PROGRAM = Path(__file__).with_name("compose.cjs")
NODEMAILER = "nodemailer MailComposer"
GOALS = {
    False: "compiled at most 1/100 of EmailMessage, 1/25 of nodemailer",
    True: "compiled at most 1/250 of EmailMessage, 1/45 of nodemailer",
}
_LINE = "Your order left our warehouse this morning; you can follow it, as always, in your account."

Measure = Callable[[int], float]
"""CPU microseconds for one of so many copies."""


def run() -> list[Table]:
    """Text beyond ASCII for a server without 8BITMIME is the dearest for us: it is quoted-printable."""
    cases = [
        ("ASCII", ".", False),
        ("quoted-printable", ", café.", False),
        ("quoted-printable, files", ", café.", True),
    ]
    return [_table(title, _batch(end, files=files), files=files) for title, end, files in cases]


def _table(title: str, batch: Batch, *, files: bool) -> Table:
    with _nodemailer(batch) as (composer, reason):
        rows: dict[str, Measure] = {
            "compiled": _of(batch, compile_message(batch).compose),
            "compiled, a list of pieces": _of(batch, compile_message(batch).compose, whole=False),
            "one-shot": _of(batch, lambda delivery, *, date: compose(batch, delivery, date=date)),
            "EmailMessage": _timed(lambda delivery: _email_message(batch, delivery), batch.deliveries),
            "MIMEMultipart": _timed(lambda delivery: _mime_multipart(batch, delivery), batch.deliveries),
        }
        if composer is not None:
            rows[NODEMAILER] = composer
        counts = {name: max(1, int(ROUND_S * 1e6 / measure(20))) for name, measure in rows.items()}
        samples: dict[str, list[float]] = {name: [] for name in rows}
        for _ in range(ROUNDS):
            for name, measure in rows.items():
                samples[name].append(measure(counts[name]))
    size_bytes = compose(batch, batch.deliveries[0], date=messages.DATE).size_bytes
    skipped = f"; {NODEMAILER} left out: {reason}" if reason else ""
    return Table(
        title=f"Composing one copy: {title}, {size_bytes} bytes",
        unit="CPU us",
        rows=[Row(name=name, samples=values) for name, values in samples.items()],
        goal=GOALS[files] + skipped,
    )


def _batch(end: str, *, files: bool) -> Batch:
    line = _LINE + end
    text = "Hello {{ name }},\n\n" + f"{line}\n" * 8 + "Your code is {{ code }}.\n"
    html = "<html><body><p>Hello {{ name }},</p>\n" + f"<p>{line}</p>\n" * 8 + "<p>Your code is {{ code }}.</p>\n"
    attachments = list(messages.with_files("2KB").attachments) if files else []
    html += '<img src="cid:logo"></body></html>\n' if files else "</body></html>\n"
    message = Message(from_=messages.SENDER, subject=messages.SUBJECT, text=text, html=html, attachments=attachments)
    copies = tuple(
        Delivery(
            message_id=f"<{number:06}.benchmark@example.com>",
            recipients=(),
            to=(Address.parse(f"Ada Lovelace <{messages.recipient(number)}>"),),
            merge=FrozenMap({"name": f"Ada {number}", "code": str(271828 + number)}),
            headers=FrozenMap({"List-Unsubscribe": f"<https://example.com/u/{number:06}>"}),
        )
        for number in range(COPIES)
    )
    return Batch(message=message, sender=messages.SENDER, deliveries=copies)


def _of(batch: Batch, make: Callable[..., object], *, whole: bool = True) -> Measure:
    def work(delivery: Delivery) -> object:
        composed = make(delivery, date=messages.DATE)
        return composed.as_bytes() if whole else composed  # type: ignore[attr-defined]  # a Composed, of either maker

    return _timed(work, batch.deliveries)


def _timed(work: Callable[[Delivery], object], deliveries: Sequence[Delivery]) -> Measure:
    def measure(count: int) -> float:
        copies = list(islice(cycle(deliveries), count))
        started = time.process_time()
        for delivery in copies:
            work(delivery)
        return (time.process_time() - started) / count * 1e6

    return measure


def _filled(batch: Batch, delivery: Delivery) -> tuple[str, str]:
    text, html = batch.message.text or "", batch.message.html or ""
    for name, value in (delivery.merge or {}).items():
        text = text.replace(f"{{{{ {name} }}}}", value)
        html = html.replace(f"{{{{ {name} }}}}", escape(value))
    return text, html


def _head(made: EmailMessage | MIMEMultipart, batch: Batch, delivery: Delivery) -> None:
    made["From"] = str(batch.sender)
    made["To"] = str(delivery.to[0])
    made["Subject"] = batch.message.subject
    made["Date"] = format_datetime(messages.DATE)
    made["Message-ID"] = delivery.message_id
    made["List-Unsubscribe"] = delivery.headers["List-Unsubscribe"]


def _email_message(batch: Batch, delivery: Delivery) -> bytes:
    made = EmailMessage(policy=policy.SMTP)
    _head(made, batch, delivery)
    text, html = _filled(batch, delivery)
    made.set_content(text, cte="quoted-printable")
    made.add_alternative(html, subtype="html", cte="quoted-printable")
    marked_up = made.get_body(["html"])
    assert isinstance(marked_up, EmailMessage)
    for image in batch.message.inline_images:
        marked_up.add_related(image.read(), "image", "png", cid=f"<{image.content_id}>", filename=image.filename)
    for file in batch.message.files:
        made.add_attachment(file.read(), "application", "pdf", filename=file.filename)
    return made.as_bytes()


def _mime_multipart(batch: Batch, delivery: Delivery) -> bytes:
    text, html = _filled(batch, delivery)
    bodies = MIMEMultipart("alternative")
    bodies.attach(MIMEText(text, "plain", "utf-8"))
    made = bodies
    marked_up = MIMEText(html, "html", "utf-8")
    if batch.message.attachments:
        related = MIMEMultipart("related")
        related.attach(marked_up)
        for image in batch.message.inline_images:
            related.attach(_named(MIMEImage(image.read(), "png"), image))
        bodies.attach(related)
        made = MIMEMultipart("mixed")
        made.attach(bodies)
        for file in batch.message.files:
            made.attach(_named(MIMEApplication(file.read(), "pdf"), file))
    else:
        bodies.attach(marked_up)
    _head(made, batch, delivery)
    return made.as_bytes(policy=policy.SMTP)


def _named(part: MIMENonMultipart, attachment: Attachment) -> MIMENonMultipart:
    part.add_header(
        "Content-Disposition", "inline" if attachment.inline else "attachment", filename=attachment.filename
    )
    if attachment.content_id:
        part.add_header("Content-ID", f"<{attachment.content_id}>")
    return part


@contextmanager
def _nodemailer(batch: Batch) -> Iterator[tuple[Measure | None, str]]:
    """What measures it, or why it cannot be."""
    try:
        command = [nodemailer.node(), str(PROGRAM), str(nodemailer.installed())]
    except CannotRun as reason:
        yield None, str(reason)
        return
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def asked(line: str) -> float:
            print(line, file=process.stdin, flush=True)
            return float(process.stdout.readline())  # type: ignore[union-attr]  # a pipe, as said above

        asked(_as_json(batch))
        asked("200")  # compiled to machine code by now
        try:
            yield lambda count: asked(str(count)), ""
        finally:
            process.stdin.close()


def _as_json(batch: Batch) -> str:
    message = batch.message
    return json.dumps(
        {
            "from": str(batch.sender),
            "subject": message.subject,
            "date": messages.DATE.isoformat(),
            "text": message.text,
            "html": message.html,
            "attachments": [
                {
                    "filename": attachment.filename,
                    "content": base64.b64encode(attachment.read()).decode(),
                    "contentType": attachment.content_type,
                    **({"cid": attachment.content_id} if attachment.inline else {}),
                }
                for attachment in message.attachments
            ],
            "copies": [
                {
                    "to": str(delivery.to[0]),
                    "messageId": delivery.message_id,
                    "merge": dict(delivery.merge or {}),
                    "headers": dict(delivery.headers),
                }
                for delivery in batch.deliveries
            ],
        }
    )
