"""One AUTH exchange, from the command to the last response (RFC 4954)."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from genie_connect.inbox.reply import Reply
from genie_connect.inbox.sasl import (
    MECHANISMS,
    REFUSAL_CHALLENGES,
    Credentials,
    SaslFault,
    decode_response,
    encode_challenge,
)


@attrs.frozen(kw_only=True)
class AuthStep:
    """The reply to one line of the exchange, with the credentials once they are known."""

    reply: Reply
    credentials: Credentials | None = None


class Authentication:
    """The server's side of one exchange; `judge` decides on the credentials."""

    def __init__(self, mechanism: str, judge: Callable[[Credentials], Reply]) -> None:
        self.index = 0
        self._mechanism = mechanism
        self._judge = judge
        self._refusal: Reply | None = None

    def begin(self, initial: str) -> AuthStep:
        """Answer the AUTH command with its initial response, empty where it has none."""
        try:
            response = decode_response(initial) if initial else None
            self._exchange = MECHANISMS[self._mechanism](response)
            return self._challenge(next(self._exchange))
        except StopIteration as done:
            return self._decide(done.value)
        except SaslFault as fault:
            return AuthStep(reply=Reply(501, "5.5.2", str(fault)))

    def step(self, line: str) -> AuthStep:
        """Answer one response line."""
        self.index += 1
        if self._refusal is not None:
            return AuthStep(reply=self._refusal)
        if line == "*":
            return AuthStep(reply=Reply(501, "5.7.0", "authentication cancelled by the client"))
        try:
            return self._challenge(self._exchange.send(decode_response(line)))
        except StopIteration as done:
            return self._decide(done.value)
        except SaslFault as fault:
            return AuthStep(reply=Reply(501, "5.5.2", str(fault)))

    def _challenge(self, challenge: bytes) -> AuthStep:
        return AuthStep(reply=Reply(334, "", encode_challenge(challenge)))

    def _decide(self, credentials: Credentials) -> AuthStep:
        reply = self._judge(credentials)
        challenge = REFUSAL_CHALLENGES.get(self._mechanism)
        if reply.code >= 400 and challenge is not None:
            self._refusal = reply
            reply = Reply(334, "", encode_challenge(challenge))
        return AuthStep(reply=reply, credentials=credentials)
