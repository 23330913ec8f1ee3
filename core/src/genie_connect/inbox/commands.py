"""Tables of the protocol: which command is allowed when, and which parameters MAIL takes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import attrs

from genie_connect.inbox.reply import Reply
from genie_connect.inbox.turn import SessionSettings, State

_GREETED: Final = frozenset({State.FRESH, State.IDLE, State.ENVELOPE, State.RECIPIENTS, State.CHUNKS})
_EHLO_FIRST: Final = Reply(503, "5.5.1", "EHLO or HELO first")


@attrs.frozen(kw_only=True)
class CommandRule:
    """The states in which a command may come, and the reply in every other; some states deserve their own."""

    states: frozenset[State]
    out_of_order: Reply
    exceptions: Mapping[State, Reply] = MappingProxyType({})

    def refusal(self, state: State) -> Reply | None:
        """Return the reply to a command that comes at the wrong time, or None."""
        return None if state in self.states else self.exceptions.get(state, self.out_of_order)


@attrs.frozen(kw_only=True)
class MailParameter:
    """The grammar of a parameter's value (empty for none) and whether this server offers it."""

    value: re.Pattern[str]
    offered: Callable[[SessionSettings], bool]


def _rule(states: frozenset[State], text: str, exceptions: Mapping[State, Reply] | None = None) -> CommandRule:
    return CommandRule(
        states=states,
        out_of_order=Reply(503, "5.5.1", text),
        exceptions=MappingProxyType({State.FRESH: _EHLO_FIRST, State.REFUSED: _EHLO_FIRST, **(exceptions or {})}),
    )


_ALWAYS: Final = _rule(_GREETED, "this server takes no commands but QUIT")

# A chunk is refused only after its octets have been consumed, so BDAT is let through in every greeted state.
COMMAND_RULES: Mapping[str, CommandRule] = MappingProxyType(
    {
        "EHLO": _ALWAYS,
        "HELO": _ALWAYS,
        "NOOP": _ALWAYS,
        "RSET": _ALWAYS,
        "VRFY": _ALWAYS,
        "HELP": _ALWAYS,
        "BDAT": _ALWAYS,
        "QUIT": _rule(_GREETED | {State.REFUSED}, "this server takes no commands but QUIT"),
        "STARTTLS": _rule(frozenset({State.IDLE}), "STARTTLS comes outside a mail transaction"),
        "AUTH": _rule(frozenset({State.IDLE}), "AUTH comes outside a mail transaction"),
        "MAIL": _rule(frozenset({State.IDLE}), "a mail transaction is open already"),
        "RCPT": _rule(frozenset({State.ENVELOPE, State.RECIPIENTS}), "MAIL first, and no RCPT after BDAT"),
        "DATA": _rule(
            frozenset({State.RECIPIENTS}),
            "DATA needs MAIL and RCPT first, and no BDAT",
            {State.ENVELOPE: Reply(554, "5.5.1", "no valid recipients")},
        ),
    }
)

CHUNK_RULE: Final = _rule(
    frozenset({State.RECIPIENTS, State.CHUNKS}),
    "BDAT needs MAIL and RCPT first",
    {State.ENVELOPE: Reply(554, "5.5.1", "no valid recipients")},
)

MAIL_PARAMETERS: Mapping[str, MailParameter] = MappingProxyType(
    {
        "SIZE": MailParameter(value=re.compile("[0-9]{1,20}"), offered=lambda s: "SIZE" in s.extensions),
        "BODY": MailParameter(
            value=re.compile("7BIT|8BITMIME", re.IGNORECASE), offered=lambda s: "8BITMIME" in s.extensions
        ),
        "SMTPUTF8": MailParameter(value=re.compile(""), offered=lambda s: "SMTPUTF8" in s.extensions),
        # RFC 4954 section 5: a server that offers AUTH takes the parameter; this one trusts no such claim.
        "AUTH": MailParameter(value=re.compile(".+"), offered=lambda s: bool(s.auth_mechanisms)),
    }
)

BDAT_ARGUMENT: Final = re.compile(r"([0-9]{1,18})( LAST)?", re.IGNORECASE)
