"""OpenSMTPD in the foreground."""

from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from tests.integration.servers.base import RealServer
from tests.integration.servers.chroot import Account, PrivateRoot

_OPENSMTPD = Account("opensmtpd", 64105)
_OPENSMTPQ = Account("opensmtpq", 64106)

_CONFIGURATION = """
smtp max-message-size "{size_limit_bytes}"
filter bad_sender phase mail-from match mail-from regex {{ "^badsender@" }} reject "550 5.7.1 Sender not welcome"
filter refused phase rcpt-to match rcpt-to regex {{ "^refused@" }} reject "550 5.1.1 No such user"
filter temporary phase rcpt-to match rcpt-to regex {{ "^temporary@" }} reject "451 4.2.1 Try again later"
filter policy chain {{ bad_sender, refused, temporary }}
listen on 127.0.0.1 port {port} hostname mx.test filter policy
action sink relay host "smtp+notls://127.0.0.1:{sink_port}"
match from any for any action sink
"""


class OpenSMTPD(RealServer):
    """OpenSMTPD as Debian builds it."""

    name: ClassVar[str] = "opensmtpd"
    supports: ClassVar[frozenset[str]] = frozenset({"SIZE", "8BITMIME"})
    refuses_declared_size: ClassVar[bool] = False
    oversize_code: ClassVar[int] = 554

    def configure(self) -> list[str]:
        root = PrivateRoot(self.folder / "root", self.installed, [_OPENSMTPD, _OPENSMTPQ])
        root.write(
            "etc/smtpd.conf",
            _CONFIGURATION.format(port=self.port, sink_port=self.sink.port, size_limit_bytes=self.size_limit_bytes),
        )
        root.write("etc/mailname", "mx.test\n")
        root.folder("run")
        root.folder("var/run")
        root.folder("var/lib/opensmtpd/empty")
        root.folder("var/spool/smtpd", mode=0o711)
        return root.command("/usr/sbin/smtpd", "-d", "-f", "/etc/smtpd.conf")

    def logs(self) -> Iterable[Path]:
        return []
