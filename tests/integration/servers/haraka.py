"""Haraka, one Node.js process."""

from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from tests.integration.servers.base import RealServer

_POLICY = """
'use strict'

const REFUSED = 'refused'
const TEMPORARY = 'temporary'
const BAD_SENDER = 'badsender'

// The name of a loopback address is nobody's business but ours: no query leaves this machine.
exports.hook_lookup_rdns = (next) => next(OK, 'localhost')

exports.hook_mail = (next, connection, [sender]) =>
  sender.user === BAD_SENDER ? next(DENY, '5.7.1 This sender is not welcome') : next()

exports.hook_rcpt = (next, connection, [recipient]) => {
  if (recipient.user === REFUSED) return next(DENY, '5.1.1 No such user')
  if (recipient.user === TEMPORARY) return next(DENYSOFT, '4.2.1 Try again later')
  next(OK)
}
"""

_CONNECTION = """
[main]
smtputf8=true
[max]
bytes={size_limit_bytes}
; The default of 992 breaks lines that RFC 5321 section 4.5.3.1.6 allows (998 and CRLF).
data_line_length=1000
line_length=512
mime_parts=1000
; This file replaces the one that Haraka ships as a whole, and the code counts on these sections.
[headers]
add_received=true
clean_auth_results=true
show_version=true
max_lines=1000
max_received=100
[message]
helo=Hello
close=Bye
[uuid]
banner_chars=6
deny_chars=0
[haproxy]
hosts[] =
"""


class Haraka(RealServer):
    """Haraka from npm, which hands a message on before it answers for it."""

    name: ClassVar[str] = "haraka"
    supports: ClassVar[frozenset[str]] = frozenset({"PIPELINING", "SIZE", "8BITMIME", "SMTPUTF8"})
    oversize_code: ClassVar[int] = 550
    needs_root: ClassVar[bool] = False

    def configure(self) -> list[str]:
        files = {
            "config/smtp.ini": f"listen={self.host}:{self.port}\nnodes=0\n",
            "config/connection.ini": _CONNECTION.format(size_limit_bytes=self.size_limit_bytes),
            "config/smtp_forward.ini": f"host=127.0.0.1\nport={self.sink.port}\n",
            "config/plugins": "policy\nqueue/smtp_forward\n",
            "config/me": "mx.test\n",
            "config/loglevel": "info\n",
            "plugins/policy.js": _POLICY,
        }
        for name, text in files.items():
            file = self.folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        program = self.installed / "node_modules/Haraka/bin/haraka"
        return [str(self.installed / "node"), str(program), "--configs", str(self.folder)]

    def logs(self) -> Iterable[Path]:
        return []
