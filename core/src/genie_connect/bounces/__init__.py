"""Bounce mail as events: what mail servers report by mail, in the forms that they write.

``events_of_mail`` reads one message of a bounce mailbox: delivery status notifications (RFC 3464), feedback reports
(RFC 5965), the forms of servers that keep to neither, automatic answers; what is none of these is
read by flufl.bounce where that is installed (extra ``bounces``). Anything else is an inbound message.
"""

from genie_connect.bounces.reading import events_of_mail
from genie_connect.bounces.verp import verp_address, verp_recipient

__all__ = ["events_of_mail", "verp_address", "verp_recipient"]
