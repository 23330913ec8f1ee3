"""Real mail servers, each started as a child process with a private configuration and spool.

What a server accepts it hands on to a sink of ours, so that a test can compare what arrived with what was sent.
All of them follow the same small policy, for any domain:

========================  ==========================================================
address                   answer
========================  ==========================================================
``refused@...``           550 5.1.1 to RCPT
``temporary@...``         450 or 451 to RCPT
``badsender@...``         550 or 553 as the sender: to MAIL, or to RCPT (``refuses_sender_at``)
any other                 250
========================  ==========================================================

A message over ``size_limit_bytes`` is refused, by the SIZE parameter of MAIL or else after its last byte.
"""

from tests.integration.servers.base import (
    LocalProgram,
    NotInstalledError,
    RealServer,
    ServerFailedError,
    servers_folder,
)
from tests.integration.servers.exim import Exim
from tests.integration.servers.haraka import Haraka
from tests.integration.servers.opensmtpd import OpenSMTPD
from tests.integration.servers.postfix import Postfix
from tests.integration.servers.sink import Delivery, Sink

SERVERS: dict[str, type[RealServer]] = {
    "postfix": Postfix,
    "exim": Exim,
    "opensmtpd": OpenSMTPD,
    "haraka": Haraka,
}

__all__ = [
    "SERVERS",
    "Delivery",
    "Exim",
    "Haraka",
    "LocalProgram",
    "NotInstalledError",
    "OpenSMTPD",
    "Postfix",
    "RealServer",
    "ServerFailedError",
    "Sink",
    "servers_folder",
]
