"""``inbox``: a local SMTP server that shows what arrives."""

from __future__ import annotations

import asyncio
import os
import ssl
import sys
import tempfile
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any, cast

import attrs
import click

from genie_connect.cli.errors import Failed
from genie_connect.cli.options import Command, Options, pass_options
from genie_connect.cli.terminal import Terminal
from genie_connect.cli.toml import toml
from genie_connect.inbox import InboxServer, Received, Security, local_certificate
from genie_connect.model.secret import Secret

PASSWORD_VARIABLE = "GENIE_CONNECT_INBOX_PASSWORD"  # noqa: S105  # the name of a variable
DEFAULT_PORT = 2525
KEPT_MESSAGES = 1
"""The server shows what arrives and need not remember it."""


@attrs.frozen(kw_only=True)
class SignIn:
    """Who may send: the user name, the password, and how a configuration refers to it."""

    username: str
    password: str = attrs.field(repr=False)
    reference: str


@click.command(cls=Command)
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=DEFAULT_PORT,
    show_default=True,
    help="Port to listen on; 0 takes a free one.",
)
@click.option("--security", type=click.Choice(["none", "starttls", "tls"]), default="none", show_default=True)
@click.option("--username", metavar="NAME", help="Ask for this user name and a password; not with --security none.")
@click.option(
    "--password",
    "password_from",
    metavar="env:NAME|file:PATH",
    help=f"Where the password is. Without it: {PASSWORD_VARIABLE}, or a prompt.",
)
@click.option(
    "--certificates",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Where the certificate made for TLS is kept.  [default: the user's cache folder]",
)
@click.option("--show", is_flag=True, help="Print the text of each message too.")
@click.option(
    "--save", type=click.Path(file_okay=False, path_type=Path), metavar="FOLDER", help="Write each as an .eml file."
)
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="Stop after so many messages.")
@pass_options
def inbox(
    options: Options,
    host: str,
    port: int,
    security: str,
    username: str | None,
    password_from: str | None,
    certificates: Path | None,
    show: bool,
    save: Path | None,
    count: int | None,
) -> None:
    """Run a local SMTP server that takes every message, delivers none, and prints a line for each.

    The [connections.inbox] table for the configuration file is printed first, on standard error.
    """
    sign_in = _sign_in(username, password_from, security)
    context, ca_file = _tls(security, certificates)
    if save is not None:
        save.mkdir(parents=True, exist_ok=True)
    keeper = _Keeper(options.terminal, show=show, folder=save, count=count)
    server = InboxServer(
        host,
        port,
        security=cast("Security", security),
        ssl_context=context,
        credentials={sign_in.username: sign_in.password} if sign_in else None,
        max_kept_messages=KEPT_MESSAGES,
        on_message=keeper.take,
    )
    asyncio.run(_serve(options.terminal, server, keeper, sign_in, ca_file))


async def _serve(
    terminal: Terminal, server: InboxServer, keeper: _Keeper, sign_in: SignIn | None, ca_file: Path | None
) -> None:
    try:
        await server.__aenter__()
    except OSError as error:
        raise Failed(
            f"cannot listen on {server.host} port {server.port}",
            cause=error.strerror or type(error).__name__,
            hint="give another port with --port, or --port 0 for a free one",
        ) from None
    try:
        terminal.say(f"listening on {server.host} port {server.port}; Ctrl-C stops it. To send here, configure:\n")
        terminal.say(_snippet(server, sign_in, ca_file))
        await keeper.finished.wait()
    finally:
        await server.close()
        terminal.say(f"{server.received_count} message{'s' * (server.received_count != 1)} received")


class _Keeper:
    """Prints and saves what arrives."""

    def __init__(self, terminal: Terminal, *, show: bool, folder: Path | None, count: int | None) -> None:
        self.finished = asyncio.Event()
        self._terminal = terminal
        self._show = show
        self._folder = folder
        self._count = count
        self._taken = 0

    def take(self, received: Received) -> None:
        """Show and save one message, and stop where enough have come or nobody reads on."""
        self._taken += 1
        try:
            self._handle(received)
        except BrokenPipeError:
            self.finished.set()
        if self._count is not None and self._taken >= self._count:
            self.finished.set()

    def _handle(self, received: Received) -> None:
        parsed = message_from_bytes(received.data, policy=policy.SMTP)
        text = _text(parsed) if self._show else None
        file = self._save(received) if self._folder is not None else None
        if self._terminal.json:
            self._terminal.document(_data(received, parsed, text, file), indent=None)
        else:
            self._terminal.line(_line(received, parsed, file))
            if text is not None:
                self._terminal.line("".join(f"    {line}\n" for line in text.splitlines()).rstrip("\n"))

    def _save(self, received: Received) -> Path | None:
        if self._folder is None:
            return None
        name = f"{received.received_at:%Y%m%d-%H%M%S}-{self._taken:04}.eml"
        try:
            path = self._folder / name
            with path.open("xb") as file:  # never over a file that is there
                file.write(received.data)
        except OSError as error:
            # The message has been taken and shown; only the copy is missing.
            self._terminal.say(f"warning: {name} was not saved: {error.strerror}")
            return None
        return path


def _line(received: Received, parsed: EmailMessage, file: Path | None) -> str:
    to = ", ".join(received.recipients[:3])
    more = len(received.recipients) - 3
    facts = [
        f"{received.received_at.astimezone():%H:%M:%S}",
        f"{received.envelope_from or '<>'} -> {to}" + (f" and {more} more" if more > 0 else ""),
        f'"{parsed.get("subject", "")}"',
        f"{len(received.data)} bytes",
        *(["TLS"] if received.tls else []),
        *([f"signed in as {received.auth_user}"] if received.auth_user else []),
        *([f"saved as {file}"] if file else []),
    ]
    return "  ".join(facts)


def _data(received: Received, parsed: EmailMessage, text: str | None, file: Path | None) -> dict[str, Any]:
    data: dict[str, Any] = {
        "received_at": received.received_at.isoformat(),
        "envelope_from": received.envelope_from,
        "recipients": list(received.recipients),
        "subject": str(parsed.get("subject", "")),
        "message_id": str(parsed.get("message-id", "")),
        "size_bytes": len(received.data),
        "tls": received.tls,
        "auth_user": received.auth_user,
        "smtputf8": received.smtputf8,
        "file": None if file is None else str(file),
    }
    return data if text is None else data | {"text": text}


def _text(parsed: EmailMessage) -> str:
    body = parsed.get_body(("plain", "html"))
    if body is None:
        return "(no text)"
    try:
        content = body.get_content()
    except (LookupError, UnicodeError):
        payload = body.get_payload(decode=True)
        content = payload.decode("utf-8", "replace") if isinstance(payload, bytes) else ""
    return str(content).replace("\r\n", "\n").rstrip("\n")


def _sign_in(username: str | None, password_from: str | None, security: str) -> SignIn | None:
    if username is None:
        if password_from is not None:
            raise click.UsageError("--password needs --username")
        return None
    if security == "none":
        raise click.UsageError(
            "with --security none the password would cross the network in clear: use --security starttls or tls"
        )
    if password_from is not None:
        secret = Secret(password_from)
        if secret.reference is None:
            raise Failed(
                "--password takes no password",
                cause="arguments can be read by every process of this machine, and stay in the shell's history",
                hint=f"give env:NAME or file:PATH, set {PASSWORD_VARIABLE}, or leave it out for a prompt",
            )
        return SignIn(username=username, password=secret.reveal(), reference=secret.reference)
    reference = f"env:{PASSWORD_VARIABLE}"
    if os.environ.get(PASSWORD_VARIABLE):
        return SignIn(username=username, password=Secret(reference).reveal(), reference=reference)
    if not sys.stdin.isatty():
        hint = f"give --password env:NAME or --password file:PATH, or set {PASSWORD_VARIABLE}"
        raise Failed("there is no password", cause="standard input is no terminal to ask on", hint=hint)
    password = click.prompt(f"Password for {username}", hide_input=True, confirmation_prompt=True, err=True)
    return SignIn(username=username, password=password, reference=reference)


def _tls(security: str, folder: Path | None) -> tuple[ssl.SSLContext | None, Path | None]:
    if security == "none":
        return None, None
    files = local_certificate(folder or _cache_folder())
    return files.server_context(), files.ca_file.absolute()


def _cache_folder() -> Path:
    given = os.environ.get("XDG_CACHE_HOME")
    try:
        folder = (Path(given) if given else Path.home() / ".cache") / "genie-connect" / "inbox"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):
        return Path(tempfile.mkdtemp(prefix="genie-connect-inbox-"))
    return folder


def _snippet(server: InboxServer, sign_in: SignIn | None, ca_file: Path | None) -> str:
    connection = ("connections", "inbox")
    settings = (*connection, "settings")
    values: dict[tuple[str, ...], Any] = {
        (*connection, "connector"): "smtp",
        (*connection, "default_from"): "You <you@example.com>",
        (*settings, "host"): _reachable(server.host),
        (*settings, "port"): server.port,
        (*settings, "security"): server.security,
        (*settings, "username"): sign_in.username if sign_in else None,
        (*settings, "password"): sign_in.reference if sign_in else None,
        (*settings, "ca_file"): str(ca_file) if ca_file else None,
    }
    return toml(values) + "\n"


def _reachable(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104  # it is what was typed
