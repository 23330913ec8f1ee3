"""Genie Connect: send email through whatever delivery service there is, one plug-in for each.

Names are imported when they are first used: a connector that needs the contract alone does not load the host, and a
command line that prints its version loads nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genie_connect.broadcast.handle import Broadcast, Progress
    from genie_connect.contract import ConnectorInfo, Kind, Runtime, SendContext, TestContext, WebhookRequest
    from genie_connect.delivery.intake import WebhookResult
    from genie_connect.delivery.policy import SendPolicy
    from genie_connect.errors import (
        BroadcastStateError,
        ConfigurationError,
        ConnectorUnavailable,
        ContractViolation,
        EngineUnavailable,
        GenieConnectError,
        IdempotencyConflict,
        NoConnection,
        NoSuchBroadcast,
        NothingUnknown,
        Problem,
        SecretUnavailable,
        SettingsError,
        StoreError,
        StoreKey,
        StoreUnavailable,
        StoreVersion,
        UnusableList,
        ValidationError,
        WebhookChallenge,
        WebhookNeeds,
        WebhookRejected,
    )
    from genie_connect.hookspecs import hookimpl
    from genie_connect.host import Host
    from genie_connect.model.address import Address
    from genie_connect.model.attachment import Attachment
    from genie_connect.model.batch import Batch, Delivery, Recipient
    from genie_connect.model.capability import Capability, CapabilityTable, Level
    from genie_connect.model.codec import structure, unstructure
    from genie_connect.model.diagnosis import Diagnosis, Status, Step
    from genie_connect.model.event import BounceClass, Event, EventKind, Reason
    from genie_connect.model.fate import Fate
    from genie_connect.model.inbound import InboundFile, InboundMessage
    from genie_connect.model.message import Message, Purpose
    from genie_connect.model.outcome import Outcome, Outcomes, Retry, Scope, State
    from genie_connect.model.plan import Plan
    from genie_connect.model.provider_template import ProviderTemplate
    from genie_connect.model.receipt import Attempt, DoubtfulCopy, Receipt
    from genie_connect.model.secret import Secret
    from genie_connect.model.settings import setting, settings
    from genie_connect.model.suppression import Suppression, SuppressionReason, SuppressionScope
    from genie_connect.receiver import WebhookReceiver
    from genie_connect.registry import Registry
    from genie_connect.sync_host import SyncHost

__all__ = [
    "Address",
    "Attachment",
    "Attempt",
    "Batch",
    "BounceClass",
    "Broadcast",
    "BroadcastStateError",
    "Capability",
    "CapabilityTable",
    "ConfigurationError",
    "ConnectorInfo",
    "ConnectorUnavailable",
    "ContractViolation",
    "Delivery",
    "Diagnosis",
    "DoubtfulCopy",
    "EngineUnavailable",
    "Event",
    "EventKind",
    "Fate",
    "GenieConnectError",
    "Host",
    "IdempotencyConflict",
    "InboundFile",
    "InboundMessage",
    "Kind",
    "Level",
    "Message",
    "NoConnection",
    "NoSuchBroadcast",
    "NothingUnknown",
    "Outcome",
    "Outcomes",
    "Plan",
    "Problem",
    "Progress",
    "ProviderTemplate",
    "Purpose",
    "Reason",
    "Receipt",
    "Recipient",
    "Registry",
    "Retry",
    "Runtime",
    "Scope",
    "Secret",
    "SecretUnavailable",
    "SendContext",
    "SendPolicy",
    "SettingsError",
    "State",
    "Status",
    "Step",
    "StoreError",
    "StoreKey",
    "StoreUnavailable",
    "StoreVersion",
    "Suppression",
    "SuppressionReason",
    "SuppressionScope",
    "SyncHost",
    "TestContext",
    "UnusableList",
    "ValidationError",
    "WebhookChallenge",
    "WebhookNeeds",
    "WebhookReceiver",
    "WebhookRejected",
    "WebhookRequest",
    "WebhookResult",
    "hookimpl",
    "setting",
    "settings",
    "structure",
    "unstructure",
]

_HOMES = {
    "Address": "model.address",
    "Attachment": "model.attachment",
    "Attempt": "model.receipt",
    "Batch": "model.batch",
    "BounceClass": "model.event",
    "Broadcast": "broadcast.handle",
    "BroadcastStateError": "errors",
    "Capability": "model.capability",
    "CapabilityTable": "model.capability",
    "ConfigurationError": "errors",
    "ConnectorInfo": "contract",
    "ConnectorUnavailable": "errors",
    "ContractViolation": "errors",
    "Delivery": "model.batch",
    "Diagnosis": "model.diagnosis",
    "DoubtfulCopy": "model.receipt",
    "EngineUnavailable": "errors",
    "Event": "model.event",
    "EventKind": "model.event",
    "Fate": "model.fate",
    "GenieConnectError": "errors",
    "Host": "host",
    "IdempotencyConflict": "errors",
    "InboundFile": "model.inbound",
    "InboundMessage": "model.inbound",
    "Kind": "contract",
    "Level": "model.capability",
    "Message": "model.message",
    "NoConnection": "errors",
    "NoSuchBroadcast": "errors",
    "NothingUnknown": "errors",
    "Outcome": "model.outcome",
    "Outcomes": "model.outcome",
    "Plan": "model.plan",
    "Problem": "errors",
    "Progress": "broadcast.handle",
    "ProviderTemplate": "model.provider_template",
    "Purpose": "model.message",
    "Reason": "model.event",
    "Receipt": "model.receipt",
    "Recipient": "model.batch",
    "Registry": "registry",
    "Retry": "model.outcome",
    "Runtime": "contract",
    "Scope": "model.outcome",
    "Secret": "model.secret",
    "SecretUnavailable": "errors",
    "SendContext": "contract",
    "SendPolicy": "delivery.policy",
    "SettingsError": "errors",
    "State": "model.outcome",
    "Status": "model.diagnosis",
    "Step": "model.diagnosis",
    "StoreError": "errors",
    "StoreKey": "errors",
    "StoreUnavailable": "errors",
    "StoreVersion": "errors",
    "Suppression": "model.suppression",
    "SuppressionReason": "model.suppression",
    "SuppressionScope": "model.suppression",
    "SyncHost": "sync_host",
    "TestContext": "contract",
    "UnusableList": "errors",
    "ValidationError": "errors",
    "WebhookChallenge": "errors",
    "WebhookNeeds": "errors",
    "WebhookReceiver": "receiver",
    "WebhookRejected": "errors",
    "WebhookRequest": "contract",
    "WebhookResult": "delivery.intake",
    "hookimpl": "hookspecs",
    "setting": "model.settings",
    "settings": "model.settings",
    "structure": "model.codec",
    "unstructure": "model.codec",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
