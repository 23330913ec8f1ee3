"""What the replies of mail servers mean, in one place for SMTP, bounce mail and webhooks."""

from genie_connect.replies.meaning import Meaning, meaning_of
from genie_connect.replies.rules import Rule, fault_rules, matching_rule, reply_rules

__all__ = ["Meaning", "Rule", "fault_rules", "matching_rule", "meaning_of", "reply_rules"]
