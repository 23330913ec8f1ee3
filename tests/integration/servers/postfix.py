"""Postfix, run by its own master in the foreground."""

from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from tests.integration.servers.base import RealServer
from tests.integration.servers.chroot import Account, PrivateRoot

_POSTFIX = Account("postfix", 64101)
_POSTDROP = Account("postdrop", 64102)
_NOBODY = Account("nobody", 65534)

_MAIN = """
compatibility_level = 3.6
maillog_file = /var/log/postfix.log
mail_owner = postfix
setgid_group = postdrop
default_privs = nobody
myhostname = mx.test
mydestination =
alias_maps =
alias_database =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
smtp_dns_support_level = disabled
relayhost = [127.0.0.1]:{sink_port}
message_size_limit = {size_limit_bytes}
mailbox_size_limit = 0
# Nothing is to be added, rewritten, folded or converted on the way through.
local_header_rewrite_clients =
smtp_line_length_limit = 0
smtp_generic_maps =
# Tests fail on purpose, often: no waiting, no counting.
smtpd_error_sleep_time = 0
smtpd_soft_error_limit = 1000
smtpd_hard_error_limit = 1000
smtpd_sender_restrictions = check_sender_access inline:{{ {{ badsender@ = 550 5.7.1 This sender is not welcome }} }}
smtpd_recipient_restrictions = check_recipient_access inline:{{
    {{ refused@ = 550 5.1.1 No such user }}, {{ temporary@ = 450 4.2.1 Try again later }} }}
smtpd_relay_restrictions = permit_mynetworks, reject
"""

# service type private unpriv chroot wakeup maxproc command
_MASTER = """
127.0.0.1:{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""

_QUEUES = ("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "saved", "trace")


class Postfix(RealServer):
    """Postfix as Debian builds it, with its default of answering for the sender only at RCPT."""

    name: ClassVar[str] = "postfix"
    supports: ClassVar[frozenset[str]] = frozenset({"PIPELINING", "SIZE", "8BITMIME", "SMTPUTF8", "DSN", "CHUNKING"})
    refuses_sender_at: ClassVar[str] = "RCPT"

    def configure(self) -> list[str]:
        root = PrivateRoot(self.folder / "root", self.installed, [_POSTFIX, _POSTDROP, _NOBODY])
        values = {"port": self.port, "sink_port": self.sink.port, "size_limit_bytes": self.size_limit_bytes}
        root.write("etc/postfix/main.cf", _MAIN.format(**values))
        root.write("etc/postfix/master.cf", _MASTER.format(**values))
        root.folder("var/log")
        root.folder("var/lib/postfix", owner=_POSTFIX)
        root.folder("var/spool/postfix")
        root.folder("var/spool/postfix/pid")
        root.folder("var/spool/postfix/private", owner=_POSTFIX, mode=0o700)
        root.folder("var/spool/postfix/public", owner=_POSTFIX, group=_POSTDROP, mode=0o2710)
        root.folder("var/spool/postfix/maildrop", owner=_POSTFIX, group=_POSTDROP, mode=0o1730)
        for queue in _QUEUES:
            root.folder(f"var/spool/postfix/{queue}", owner=_POSTFIX, mode=0o700)
        return root.command("/usr/lib/postfix/sbin/master", "-d", "-c", "/etc/postfix")

    def logs(self) -> Iterable[Path]:
        return [self.folder / "root/var/log/postfix.log"]
