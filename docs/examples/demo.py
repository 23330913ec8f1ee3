"""A tour in a dozen seconds: a message, a provider that goes down, a broadcast, and one that outlives its host.

Two servers run inside this program: the local inbox, which speaks SMTP with TLS and passwords, and the sandbox, whose
provider is an email API. Everything shown is what they and the connectors really said; nothing leaves this machine.
Ends with 1 if anything is not as it should be.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import struct
import sys
import tempfile
import time
import zlib
from collections import Counter
from email import message_from_bytes, policy
from pathlib import Path

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from genie_connect import (
    Attachment,
    CapabilityTable,
    GenieConnectError,
    Host,
    Message,
    Outcome,
    Receipt,
    State,
    Status,
    Step,
)
from genie_connect.inbox import InboxServer, Policy, Reply, local_certificate
from genie_connect_contrib.sandbox.provider import SandboxProvider

READERS = [f"reader{number:04}@example.com" for number in range(1, 1001)]
HALF = len(READERS) // 2
SUPPRESSED = {READERS[99]: "unsubscribe", READERS[399]: "complaint", READERS[899]: "hard_bounce"}
GONE_AT_SANDBOX = READERS[199]
GONE_AT_INBOX = READERS[699]
CHUNK = 250
CUSTOMERS = [f"customer{number:03}@example.com" for number in range(1, 201)]
STORE = """\
[store]                            # with it, broadcasts outlive the process
url = "sqlite:///mail.db"
[engine]
chunk = 50
micro_batch = 20

"""

CONFIGURATION = """\
[connections.sandbox]              # an email API: preferred
connector = "sandbox"
default_from = "Shop <shop@example.com>"
[connections.sandbox.settings]
base_url = "{base_url}"
api_key = "env:DEMO_API_KEY"       # secrets stay where they are

[connections.mail]                 # any SMTP server: the fallback
connector = "smtp"
default_from = "Shop <shop@example.com>"
[connections.mail.settings]
host = "127.0.0.1"
port = {port}
security = "starttls"
username = "shop"
password = "env:DEMO_PASSWORD"
ca_file = '{ca_file}'
"""

STYLES = {"ok": "green", "accepted": "green", "warn": "yellow", "deferred": "yellow", "fail": "red", "rejected": "red"}

console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 110)


class NotAsExpected(Exception):
    """Something that the tour promises did not happen."""


class RefuseOne(Policy):
    """The inbox knows every mailbox but one."""

    def on_rcpt(self, recipient: str, envelope_from: str) -> Reply | None:
        if recipient == GONE_AT_INBOX:
            return Reply(550, "5.1.1", "no such mailbox here")
        return None


async def tour(folder: Path) -> None:
    os.environ["DEMO_API_KEY"] = secrets.token_urlsafe()
    os.environ["DEMO_PASSWORD"] = secrets.token_urlsafe()
    certificate = local_certificate(folder)
    inbox = InboxServer(
        security="starttls",
        ssl_context=certificate.server_context(),
        credentials={"shop": os.environ["DEMO_PASSWORD"]},
        policy=RefuseOne(),
    )
    provider = SandboxProvider(api_key=os.environ["DEMO_API_KEY"])
    provider.refuse(GONE_AT_SANDBOX)
    async with inbox, provider:
        heading("Two servers on this machine, two connections to them")
        configuration = CONFIGURATION.format(
            base_url=provider.base_url, port=inbox.port, ca_file=certificate.ca_file.as_posix()
        )
        file = folder / "genie-connect.toml"
        file.write_text(configuration, encoding="utf-8")
        console.print(Text(configuration.rstrip(), style="dim"))
        async with Host.open(file) as host:
            show_capabilities(host)
            await test(host, "mail")
            first = await send_order(host, provider)
            second = await send_with_sandbox_down(host, provider, inbox)
            broadcast = await send_broadcast(host, provider)
            await check_nothing_twice(provider, inbox)
        await send_durably(folder, configuration, inbox)
        conclude(first, second, broadcast)


def show_capabilities(host: Host) -> None:
    heading("What each can do (genie-connect capabilities NAME)")
    for name in ("sandbox", "mail"):
        show_table(name, host.capabilities(name))


async def test(host: Host, name: str) -> None:
    heading(f"Does {name} work? (genie-connect test {name})")
    steps: list[Step] = []
    async for step in host.test(name):
        steps.append(step)
        show_step(step)
    expect(bool(steps) and all(step.status is not Status.FAIL for step in steps), f"the test of {name} passes")


async def send_order(host: Host, provider: SandboxProvider) -> Receipt:
    heading("One message, with a file and an image inside the HTML")
    message = order()
    console.print(Text(indented(host.plan(message).explain())))
    receipt = await host.send(message)
    show_receipt(receipt)
    expect(receipt.connection == "sandbox", "the API connection is preferred")
    kept = provider.messages[-1]
    console.print(f"  the sandbox has: {kept.subject!r}, {', '.join(file.filename for file in kept.attachments)}")
    expect([file.content for file in kept.attachments] == [each.read() for each in message.attachments], "files arrive")
    return receipt


async def send_with_sandbox_down(host: Host, provider: SandboxProvider, inbox: InboxServer) -> Receipt:
    heading("The same with the sandbox down: the plan falls back to SMTP, and the receipt says why")
    await provider.go_down()
    message = order()
    receipt = await host.send(message)
    show_receipt(receipt)
    expect([attempt.connection for attempt in receipt.attempts] == ["sandbox", "mail"], "sandbox is tried, then mail")
    expect(receipt.connection == "mail" and receipt.accepted, "mail takes over")
    table = host.capabilities("mail")
    expect(table.effective, "the server has been asked what it can do")
    limits = ", ".join(f"{name} {value:,}" for name, value in table["send.transactional"].limits.items())
    console.print(f"  and mail now knows what its server announced: {limits}")
    (received,) = await inbox.wait_for(1, timeout_s=10)
    parts = [part for part in message_from_bytes(received.data, policy=policy.SMTP).walk() if not part.is_multipart()]
    console.print(f"  the inbox has: {', '.join(part.get_content_type() for part in parts)}, over TLS")
    files = [part.get_payload(decode=True) for part in parts if part.get_filename()]
    expect(sorted(files) == sorted(each.read() for each in message.attachments), "files arrive byte for byte")
    await provider.come_up()
    return receipt


async def send_broadcast(host: Host, provider: SandboxProvider) -> Counter[str]:
    heading(f"A broadcast to {len(READERS):,} readers; half-way the sandbox goes down again")
    for address, reason in SUPPRESSED.items():
        suppression = await host.suppressions.add(address, reason=reason, source="demo")
        console.print(f"  not to {address}: {suppression.reason.value}, scope {suppression.scope.value}")
    message = Message(
        subject="News from the shop",
        text="There is something new on the shelf.",
        headers={"List-Unsubscribe": "<mailto:unsubscribe@example.com>"},
        purpose="marketing",
    )
    tally: Counter[str] = Counter()
    known = 0
    refused: list[Outcome] = []
    with progress_bar() as progress:
        task = progress.add_task("broadcast", total=len(READERS))
        async for outcome in host.send_each(message, READERS, chunk=CHUNK):
            known += 1
            progress.advance(task)
            tally[outcome.connection or "" if outcome.state is State.ACCEPTED else outcome.state.value] += 1
            if outcome.state not in (State.ACCEPTED, State.SUPPRESSED):
                refused.append(outcome)
            if known == HALF:
                await provider.go_down()
                progress.console.print(f"  {known} done; the sandbox goes down, and mail takes over")
    if not console.is_terminal:
        console.print(f"  {known} of {len(READERS)} done")
    for outcome in refused:
        said = f"{outcome.code or ''} {outcome.enhanced or ''} {outcome.text or outcome.reason}".strip()
        console.print(f"  {outcome.recipient} {outcome.state.value} by {outcome.connection}: {said}")
    expect({outcome.recipient for outcome in refused} == {GONE_AT_SANDBOX, GONE_AT_INBOX}, "two are refused")
    for outcome in refused:
        stopped = await host.suppressions.check(outcome.recipient)
        expect(stopped is not None, "a mailbox that does not exist is suppressed from now on")
    console.print("  both are suppressed from now on")
    return tally


async def check_nothing_twice(provider: SandboxProvider, inbox: InboxServer) -> None:
    """Whatever happened on the way, each reader who was to have the news has it once."""
    sandbox = [recipient for kept in provider.messages for recipient in kept.recipients]
    mail = [recipient for received in inbox.messages for recipient in received.recipients]
    copies = Counter(recipient for recipient in (*sandbox, *mail) if recipient in set(READERS))
    wanted = set(READERS) - set(SUPPRESSED) - {GONE_AT_SANDBOX, GONE_AT_INBOX}
    expect(copies == Counter(wanted), "every reader has the broadcast once, and nobody twice")


async def send_durably(folder: Path, configuration: str, inbox: InboxServer) -> None:
    """What ``genie-connect broadcast`` does, in two hosts one after the other."""
    heading(f"With a store: a list of {len(CUSTOMERS)} in a file, stopped on the way and gone on with by another host")
    file = folder / "durable.toml"
    paced = configuration.replace("[connections.mail.settings]", "rate_per_s = 200\n[connections.mail.settings]")
    file.write_text(STORE + paced, encoding="utf-8")
    console.print(Text(STORE.rstrip(), style="dim"))
    rows = [*CUSTOMERS, "nobody at all", CUSTOMERS[0]]
    customers = folder / "customers.csv"
    customers.write_text("email\n" + "".join(f"{row}\n" for row in rows), encoding="utf-8")
    letter = Message(subject="Thank you", text="It was a good year.")
    async with Host.open(file) as host:
        broadcast = await host.broadcast(letter, customers, connection="mail")
        console.print(
            f"  {broadcast.total} loaded; left out: {broadcast.refused_rows} broken, {broadcast.duplicates} twice"
        )
        # Another host or a worker may be at it: how far it is, only the store can tell.
        while (await broadcast.progress()).counts.done < len(CUSTOMERS) // 10:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        await broadcast.pause()
    async with Host.open(file) as host:
        again = await host.find_broadcast(broadcast.id)
        done = (await again.progress()).counts.done
        console.print(
            f"  the host ends with {done} sent; another one goes on (genie-connect broadcasts resume {again.id})"
        )
        await again.resume()
        ended = await again.wait(60)
    console.print(f"  {ended.state}: {ended.counts.accepted} accepted, {ended.counts.unknown} unknown")
    copies = Counter(recipient for received in inbox.messages for recipient in received.recipients)
    expect({each: copies[each] for each in CUSTOMERS} == dict.fromkeys(CUSTOMERS, 1), "every customer has it once")
    console.print("  the inbox has one copy for each of them")


def conclude(first: Receipt, second: Receipt, broadcast: Counter[str]) -> None:
    heading("What was sent")
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("")
    for column in ("by sandbox", "by mail", "suppressed", "refused", "recipients"):
        table.add_column(column, justify="right")
    rows = [("order", tally_of(first)), ("order, sandbox down", tally_of(second)), ("broadcast", broadcast)]
    total: Counter[str] = Counter()
    for name, tally in rows:
        total.update(tally)
        table.add_row(name, *cells(tally))
    table.add_row("total", *cells(total), style="bold")
    console.print(table)
    expected = {"sandbox": HALF - 3 + 1, "mail": HALF - 2 + 1, "suppressed": 3, "rejected": 2}
    expect(total == expected, f"the totals are {expected}")
    heading("Where to look next")
    for command, what in (
        ("docs/examples/demo.py", "the code of this tour"),
        ("./dev cli inbox", "an SMTP server of your own, with the configuration to copy"),
        ("./dev cli connectors", "what is installed"),
        ("./dev cli send --help", "send from the command line, --dry-run to see the plan"),
        ("./dev cli broadcast --help", "the same to a list in a file"),
        ("plugins/contrib", "the sandbox connector, the model for your own"),
        ("./dev docs serve", "guides for hosts and for authors of connectors"),
    ):
        console.print(Text.assemble("  ", (f"{command:28}", "bold"), what))


def order() -> Message:
    """A message as a shop sends it."""
    return Message(
        to=["Ada <ada@example.com>"],
        subject="Your order 1815",
        text="It is on its way.",
        html='<p><img src="cid:logo" alt="Shop"></p><p>It is <b>on its way</b>.</p>',
        attachments=[
            Attachment(filename="logo.png", content=png(48, 48), content_id="logo"),
            Attachment(filename="order-1815.csv", content=b"item,count\r\nengine,1\r\npunched cards,500\r\n"),
        ],
    )


def png(width: int, height: int) -> bytes:
    """A picture: green, darker towards the bottom."""

    def piece(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + bytes((20, 220 - 3 * row, 120)) * width for row in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + piece(b"IHDR", header) + piece(b"IDAT", zlib.compress(rows)) + piece(b"IEND", b"")


def heading(text: str) -> None:
    console.print()
    console.print(Text(text, style="bold cyan"))


def show_table(name: str, capabilities: CapabilityTable) -> None:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column(f"{name} ({capabilities.connector})", width=25)
    table.add_column("Support")
    for row in capabilities.rows():
        table.add_row(*row)
    console.print(table)
    console.print()


def show_step(step: Step) -> None:
    status = (f"  {step.status.value:5}", STYLES.get(step.status.value, "dim"))
    console.print(
        Text.assemble(status, f"{step.title}: {step.summary}" if step.summary else step.title, f"  {step.ms:.0f} ms")
    )
    if step.diagnosis is not None:
        console.print(f"        {step.diagnosis.cause} {' '.join(step.diagnosis.fixes)}")


def show_receipt(receipt: Receipt) -> None:
    for attempt in receipt.attempts:
        why = f": {attempt.text or attempt.reason}" if attempt.text or attempt.reason else ""
        outcome = (attempt.outcome, STYLES.get(attempt.outcome, ""))
        console.print(Text.assemble(f"  {attempt.connection}  ", outcome, f" at {attempt.stage}, {attempt.ms} ms{why}"))
    for outcome in receipt.outcomes.values():
        state = (outcome.state.value, STYLES.get(outcome.state.value, ""))
        console.print(Text.assemble(f"  {outcome.recipient}  ", state, f" by {outcome.connection}"))


def progress_bar() -> Progress:
    columns = (TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, disable=not console.is_terminal)


def tally_of(receipt: Receipt) -> Counter[str]:
    outcomes = receipt.outcomes.values()
    return Counter(each.connection or "" if each.state is State.ACCEPTED else each.state.value for each in outcomes)


def cells(tally: Counter[str]) -> list[str]:
    refused = tally["rejected"] + tally["deferred"] + tally["unknown"]
    return [str(tally["sandbox"]), str(tally["mail"]), str(tally["suppressed"]), str(refused), str(tally.total())]


def indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())


def expect(true: bool, what: str) -> None:
    if not true:
        raise NotAsExpected(what)


def main() -> int:
    started = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="genie-connect-demo-") as folder:
            asyncio.run(tour(Path(folder)))
    except NotAsExpected as error:
        print(f"error: this did not come true: {error}", file=sys.stderr)
        return 1
    except GenieConnectError as error:
        print(f"error: {error}\nhint:  {error.hint}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    console.print(f"\nAll of it took {time.monotonic() - started:.1f} s.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
