"""Bounce mail as mail servers write it: shapes of many of them, each with many replies. All of it is made up here."""

from __future__ import annotations

import base64
from collections.abc import Callable
from itertools import product

import attrs

MESSAGE_ID = "<18a.0123456789abcdef@shop.example>"
RECIPIENT = "ada@example.com"
COPY = f"From: Shop <shop@shop.example>\nTo: {RECIPIENT}\nSubject: Your order\nMessage-ID: {MESSAGE_ID}\n"


@attrs.frozen
class Reply:
    """What the receiving server said, and how it is to be judged."""

    code: int
    enhanced: str
    text: str
    bounce: str
    reason: str

    @property
    def line(self) -> str:
        """As it stood on the wire."""
        return " ".join([str(self.code), *([self.enhanced] if self.enhanced else []), self.text])

    @property
    def status(self) -> str:
        """What a report gives for it."""
        return self.enhanced or "5.0.0"


REPLIES = (
    Reply(550, "5.1.1", f"<{RECIPIENT}>: Recipient address rejected: User unknown", "hard", "recipient_rejected"),
    Reply(550, "5.1.1", "The email account that you tried to reach does not exist.", "hard", "recipient_rejected"),
    Reply(550, "5.1.10", "RESOLVER.ADR.RecipientNotFound; Recipient not found", "hard", "recipient_rejected"),
    Reply(550, "", "No such user here", "hard", "recipient_rejected"),
    Reply(550, "5.1.2", "Bad destination system address", "hard", "recipient_rejected"),
    Reply(552, "5.2.2", "The email account is over quota", "soft", "mailbox_full"),
    Reply(554, "5.7.1", "Service unavailable; Client host blocked using zen.spamhaus.org", "blocked", "policy"),
    Reply(550, "5.7.26", "Unauthenticated email is not accepted due to DMARC policy", "blocked", "policy"),
    Reply(
        550, "5.7.1", "Our system detected that this message is likely unsolicited mail", "blocked", "content_rejected"
    ),
    Reply(552, "5.3.4", "Message size exceeds fixed limit", "undetermined", "too_large"),
    Reply(550, "5.2.1", "The account has been disabled", "undetermined", "recipient_rejected"),
    Reply(554, "5.0.0", "Transaction failed", "undetermined", "permanent"),
)


def _mail(headers: str, body: str) -> bytes:
    return (headers.strip() + "\n\n" + body).replace("\n", "\r\n").encode()


def _report(
    sender: str, subject: str, words: str, status: str, copy: str, *, kind: str = "text/rfc822-headers"
) -> bytes:
    headers = (
        f"Return-Path: <>\nFrom: {sender}\nTo: bounces@shop.example\nSubject: {subject}\n"
        "Date: Wed, 25 Nov 2026 10:00:00 +0000\nAuto-Submitted: auto-replied\nMIME-Version: 1.0\n"
        'Content-Type: multipart/report; report-type=delivery-status; boundary="b1"\n'
    )
    parts = f"--b1\nContent-Type: text/plain; charset=utf-8\n\n{words}\n"
    parts += f"--b1\nContent-Type: message/delivery-status\n\n{status}\n"
    if copy:
        parts += f"--b1\nContent-Type: {kind}\n\n{copy}\n"
    return _mail(headers, parts + "--b1--\n")


def _block(reply: Reply, *, final: str = RECIPIENT, **more: str) -> str:
    lines = "".join([f"{name.replace('_', '-')}: {value}\n" for name, value in more.items()])
    return f"Final-Recipient: rfc822; {final}\n{lines}Action: failed\nStatus: {reply.status}\n"


def postfix(reply: Reply) -> bytes:
    """Postfix."""
    words = f"This is the mail system at mx.shop.example.\n\n<{RECIPIENT}>: host mx.example.com said: {reply.line}"
    status = (
        "Reporting-MTA: dns; mx.shop.example\nX-Postfix-Queue-ID: 4F1\nArrival-Date: Wed, 25 Nov 2026 09:59:00\n\n"
        + _block(reply, Original_Recipient=f"rfc822;{RECIPIENT}")
        + f"Remote-MTA: dns; mx.example.com\nDiagnostic-Code: smtp; {reply.line}\n"
    )
    return _report(
        "MAILER-DAEMON@shop.example (Mail Delivery System)", "Undelivered Mail Returned to Sender", words, status, COPY
    )


def postfix_whole_copy(reply: Reply) -> bytes:
    """Postfix that sends the whole message back."""
    status = "Reporting-MTA: dns; mx.shop.example\n\n" + _block(reply) + f"Diagnostic-Code: smtp; {reply.line}\n"
    return _report(
        "MAILER-DAEMON@shop.example",
        "Undelivered Mail",
        "Sorry.",
        status,
        COPY + "\nIt is on its way.",
        kind="message/rfc822",
    )


def sendmail(reply: Reply) -> bytes:
    """Sendmail, whose diagnostic code has a line of its own kind."""
    words = (
        "   ----- The following addresses had permanent fatal errors -----\n"
        f"<{RECIPIENT}>\n    (reason: {reply.line})\n\n   ----- Transcript of session follows -----\n"
    )
    status = (
        "Reporting-MTA: dns; mx.shop.example\nReceived-From-MTA: DNS; app.shop.example\n\n"
        + _block(reply, final=f"RFC822; {RECIPIENT}".removeprefix("RFC822; "))
        + f"Remote-MTA: DNS; mx.example.com\nDiagnostic-Code: SMTP; {reply.line}\nLast-Attempt-Date: Wed, 25 Nov 2026\n"
    )
    return _report(
        "Mail Delivery Subsystem <MAILER-DAEMON@shop.example>",
        "Returned mail: see transcript for details",
        words,
        status,
        COPY,
    )


def exchange(reply: Reply) -> bytes:
    """Exchange: HTML and words for people, no Original-Recipient."""
    words = f"Delivery has failed to these recipients or groups:\n\n{RECIPIENT}<mailto:{RECIPIENT}>\n"
    status = (
        "Reporting-MTA: dns;ex.example.com\n\n"
        f"Final-recipient: RFC822;{RECIPIENT}\nAction: failed\nStatus: {reply.status}\n"
        f"Diagnostic-code: smtp;{reply.line}\nX-Display-Name: Ada\n"
    )
    return _report(
        "Microsoft Outlook <postmaster@example.com>",
        "Undeliverable: Your order",
        words,
        status,
        COPY,
        kind="message/rfc822",
    )


def gmail(reply: Reply) -> bytes:
    """Gmail, with a picture beside and a link after the reply."""
    status = (
        "Reporting-MTA: dns; googlemail.com\nArrival-Date: Wed, 25 Nov 2026 01:59:00 -0800 (PST)\n"
        "X-Original-Message-ID: "
        + MESSAGE_ID
        + "\n\n"
        + _block(reply)
        + f"Remote-MTA: dns; mx.example.com. (192.0.2.1, the server for the domain example.com.)\n"
        f"Diagnostic-Code: smtp; {reply.line}\n  https://support.google.com/mail/?p=NoSuchUser - gsmtp\n"
    )
    return _report(
        "Mail Delivery Subsystem <mailer-daemon@googlemail.com>",
        "Delivery Status Notification (Failure)",
        "** Address **",
        status,
        COPY,
    )


def opensmtpd(reply: Reply) -> bytes:
    """OpenSMTPD."""
    words = f"    Hi!\n\n    This is the MAILER-DAEMON.\n\n    {RECIPIENT}: {reply.line}\n"
    status = "Reporting-MTA: dns; mx.shop.example\n\n" + _block(reply) + f"Diagnostic-Code: smtp; {reply.line}\n"
    return _report(
        "Mailer Daemon <MAILER-DAEMON@shop.example>", "Delivery status notification: error", words, status, COPY
    )


def powermta(reply: Reply) -> bytes:
    """PowerMTA, which adds categories of its own."""
    status = (
        "Reporting-MTA: dns;pmta.shop.example\nX-PowerMTA-VirtualMTA: v1\n\n"
        + _block(reply, Original_Recipient=f"rfc822;{RECIPIENT}")
        + f"Remote-MTA: dns;mx.example.com (192.0.2.1)\nDiagnostic-Code: smtp;{reply.line}\n"
        + "X-PowerMTA-BounceCategory: other\n"
    )
    return _report("postmaster@shop.example", "Delivery report", "Hello", status, COPY)


def haraka(reply: Reply) -> bytes:
    """Haraka, with the reply in the words and the code."""
    status = (
        "Reporting-MTA: dns; h.shop.example\nArrival-Date: Wed, 25 Nov 2026 10:00:00 +0000\n\n"
        + _block(reply, Original_Recipient=f"rfc822; {RECIPIENT}")
        + f"Diagnostic-Code: smtp; {reply.line}\n"
    )
    return _report("MAILER-DAEMON@h.shop.example", "failure notice", "I'm sorry to inform you", status, COPY)


def encoded_report(reply: Reply) -> bytes:
    """A server that encodes the report, which it must not."""
    status = "Reporting-MTA: dns; odd.example\n\n" + _block(reply) + f"Diagnostic-Code: smtp; {reply.line}\n"
    whole = _report("postmaster@odd.example", "Undeliverable", "Sorry.", "@@", COPY).decode()
    encoded = base64.encodebytes(status.encode()).decode()
    return whole.replace(
        "Content-Type: message/delivery-status\r\n\r\n@@",
        "Content-Type: message/delivery-status\r\nContent-Transfer-Encoding: base64\r\n\r\n" + encoded,
    ).encode()


def without_copy(reply: Reply) -> bytes:
    """A report that brings nothing back, but says what it answers."""
    status = "Reporting-MTA: dns; mx.example.com\n\n" + _block(reply) + f"Diagnostic-Code: smtp; {reply.line}\n"
    whole = _report("postmaster@example.com", "Undeliverable", "Sorry.", status, "").decode()
    return whole.replace("MIME-Version", f"In-Reply-To: {MESSAGE_ID}\r\nMIME-Version", 1).encode()


def one_block(reply: Reply) -> bytes:
    """A report with all fields in one block."""
    status = "Reporting-MTA: dns; mx.example.com\n" + _block(reply) + f"Diagnostic-Code: smtp; {reply.line}\n"
    return _report("postmaster@example.com", "Undeliverable", "Sorry.", status, COPY)


def qmail(reply: Reply) -> bytes:
    """qmail: words alone, by their own rules (QSBMF)."""
    headers = "Return-Path: <>\nFrom: MAILER-DAEMON@shop.example\nTo: bounces@shop.example\nSubject: failure notice"
    body = (
        "Hi. This is the qmail-send program at shop.example.\nI'm afraid I wasn't able to deliver your message to the\n"
        "following addresses. This is a permanent error; I've given up. Sorry it didn't work out.\n\n"
        f"<{RECIPIENT}>:\n192.0.2.1 does not like recipient.\n"
        f"Remote host said: {reply.line}\nGiving up on 192.0.2.1.\n\n"
        f"--- Below this line is a copy of the message.\n\nReceived: (qmail 1 invoked)\n{COPY}\nIt is on its way.\n"
    )
    return _mail(headers, body)


def exim(reply: Reply) -> bytes:
    """Exim before it wrote reports."""
    headers = (
        f"Return-path: <>\nX-Failed-Recipients: {RECIPIENT}\nAuto-Submitted: auto-replied\n"
        "From: Mail Delivery System <Mailer-Daemon@shop.example>\nTo: bounces@shop.example\n"
        "Subject: Mail delivery failed: returning message to sender"
    )
    body = (
        "This message was created automatically by mail delivery software.\n\nA message that you sent could not be\n"
        "delivered to one or more of its recipients. This is a permanent error. The following address(es) failed:\n\n"
        f"  {RECIPIENT}\n    host mx.example.com [192.0.2.1]\n"
        f"    SMTP error from remote mail server after RCPT TO:<{RECIPIENT}>:\n"
        f"    {reply.line}\n\n------ This is a copy of the message, including all the headers. ------\n\n{COPY}\nHi\n"
    )
    return _mail(headers, body)


def in_words(reply: Reply) -> bytes:
    """A gateway of which nothing is known but its words."""
    headers = (
        "Return-Path: <>\nFrom: Postmaster <postmaster@gateway.example>\nTo: bounces@shop.example\n"
        "Subject: Undeliverable: Your order"
    )
    body = (
        f"Your message could not be delivered to <{RECIPIENT}>.\n\nThe server answered:\n{reply.line}\n\n"
        f"----- Original message header -----\n{COPY}"
    )
    return _mail(headers, body)


SHAPES: tuple[Callable[[Reply], bytes], ...] = (
    postfix,
    postfix_whole_copy,
    sendmail,
    exchange,
    gmail,
    opensmtpd,
    powermta,
    haraka,
    encoded_report,
    without_copy,
    one_block,
    qmail,
    exim,
    in_words,
)
CORPUS = tuple(product(SHAPES, REPLIES))


def feedback(kind: str = "abuse", *, recipient: str = f"Original-Rcpt-To: {RECIPIENT}\n") -> bytes:
    """A feedback report (RFC 5965), as a feedback loop sends it."""
    headers = (
        "From: <fbl@mailbox.example>\nTo: fbl@shop.example\nSubject: FW: Your order\nMIME-Version: 1.0\n"
        'Content-Type: multipart/report; report-type=feedback-report; boundary="b1"'
    )
    body = (
        "--b1\nContent-Type: text/plain\n\nThis is a report.\n--b1\nContent-Type: message/feedback-report\n\n"
        f"Feedback-Type: {kind}\nUser-Agent: SomeGenerator/1.0\nVersion: 1\n{recipient}"
        f"--b1\nContent-Type: message/rfc822\n\n{COPY}\nHi\n--b1--\n"
    )
    return _mail(headers, body)
