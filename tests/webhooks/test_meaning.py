"""What a reply means in a bounce or a webhook, judged by the rules that judge SMTP replies."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genie_connect.model.event import BounceClass, Reason
from genie_connect.replies import meaning_of, reply_rules
from genie_connect.replies.rules import Rule, specific_rule


@pytest.mark.parametrize(
    ("text", "bounce", "reason"),
    [
        ("smtp; 550 5.1.1 <a@b>: Recipient address rejected: User unknown", "hard", "recipient_rejected"),
        ("550-5.1.1 The email account that you tried to reach does not exist.", "hard", "recipient_rejected"),
        ("550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found", "hard", "recipient_rejected"),
        ("550 No such user here", "hard", "recipient_rejected"),
        ("550 5.1.2 Bad destination domain", "hard", "recipient_rejected"),
        ("550 5.2.1 The account is disabled", "undetermined", "recipient_rejected"),
        ("552 5.2.2 Mailbox full", "soft", "mailbox_full"),
        ("550 The user's mailbox is over quota", "soft", "mailbox_full"),
        ("552 5.3.4 Message too big", "undetermined", "too_large"),
        ("554 5.7.1 Client host [192.0.2.1] blocked using zen.spamhaus.org", "blocked", "policy"),
        ("550 5.7.26 Unauthenticated email is not accepted due to DMARC policy", "blocked", "policy"),
        ("550 5.7.1 likely unsolicited mail", "blocked", "content_rejected"),
        ("451 4.7.1 Greylisted, try again later", "soft", "greylisted"),
        ("450 4.1.1 User unknown, for now", "soft", "temporary"),
        ("4.4.7 Message expired", "soft", "expired"),
        ("421 4.7.0 Try again later", "soft", "temporary"),
        ("550 No", "undetermined", "permanent"),
        ("554 5.0.0 Service unavailable", "undetermined", "permanent"),
        ("It did not work.", "undetermined", "other"),
        ("", "undetermined", "other"),
    ],
)
def test_a_reply_has_its_meaning(text: str, bounce: str, reason: str) -> None:
    """Hard is only what says that the mailbox or its domain does not exist."""
    meaning = meaning_of(text)
    assert (meaning.bounce.value, meaning.reason.value) == (bounce, reason)


def test_codes_that_are_given_count_before_the_text() -> None:
    """But for 5.0.0, which says that the reporter knew no better."""
    assert meaning_of("no such user", code=550, enhanced="5.0.0").reason is Reason.RECIPIENT_REJECTED
    assert meaning_of("550 5.1.1 no such user", enhanced="5.0.0").enhanced == "5.1.1"
    assert meaning_of("", enhanced="5.1.1").bounce is BounceClass.HARD
    # A server that goes away says nothing of the message, whatever else it says.
    assert meaning_of("421 4.7.0 [TSS04] Messages temporarily deferred").reason is Reason.TEMPORARY
    assert meaning_of("user unknown", code=450).bounce is BounceClass.SOFT


@given(
    st.sampled_from(range(200, 600)), st.from_regex(r"[245]\.[0-9]\.[0-9]{1,3}", fullmatch=True), st.text(max_size=40)
)
def test_no_temporary_refusal_is_hard(code: int, enhanced: str, text: str) -> None:
    """Nor one whose code says nothing; and nothing raises."""
    meaning = meaning_of(text, code=code, enhanced=enhanced)
    assert meaning.bounce is not BounceClass.HARD or code >= 500
    assert meaning_of(text).reason


_TEXTS = [rule.text for rule in reply_rules() if rule.text is not None]
_CODES = st.sampled_from([421, 450, 451, 452, 454, 501, 530, 535, 550, 551, 552, 553, 554, 571])
_ENHANCED = st.sampled_from(["", "5.1.1", "4.7.1", "5.7.1", "5.7.26", "5.2.0", "4.7.650", "5.99.9"])


def _first_that_fits(code: int, enhanced: str, text: str) -> Rule | None:
    """The rule by the plainest means: each in turn, in both phases."""
    for phase in ("rcpt", "eod"):
        for rule in reply_rules():
            if (rule.phases is not None and phase not in rule.phases) or (
                rule.code is not None and not rule.code.fullmatch(str(code))
            ):
                continue
            if rule.enhanced is None and rule.text is None:
                break
            if (rule.enhanced is None or rule.enhanced.fullmatch(enhanced)) and (
                rule.text is None or rule.text.search(text)
            ):
                return rule
    return None


@settings(max_examples=500)
@given(
    st.lists(st.sampled_from(_TEXTS).flatmap(st.from_regex) | st.text(max_size=20), max_size=3),
    st.sampled_from([str, str.upper, str.lower, str.title]),
    _CODES,
    _ENHANCED,
)
def test_a_reply_has_the_rule_of_the_table_in_whatever_letters(
    parts: list[str], spelled: Callable[[str], str], code: int, enhanced: str
) -> None:
    """The rules are looked up by code and searched in small letters, which may find no other."""
    text = spelled(" ".join(parts))
    assert specific_rule(("rcpt", "eod"), code, enhanced, text) == _first_that_fits(code, enhanced, text)
