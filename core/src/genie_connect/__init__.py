"""Genie Connect: send email through whatever delivery service there is, one plug-in for each."""

from genie_connect.contract import ConnectorInfo, Kind, Runtime, SendContext, TestContext, WebhookRequest
from genie_connect.delivery.attempts import SendPolicy
from genie_connect.errors import (
    ConfigurationError,
    ConnectorUnavailable,
    ContractViolation,
    GenieConnectError,
    NoConnection,
    Problem,
    SecretUnavailable,
    SettingsError,
    ValidationError,
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
from genie_connect.model.event import BounceClass, Event, EventKind
from genie_connect.model.message import Message, Purpose
from genie_connect.model.outcome import Outcome, Outcomes, Retry, Scope, State
from genie_connect.model.plan import Plan
from genie_connect.model.receipt import Attempt, Receipt
from genie_connect.model.secret import Secret
from genie_connect.model.settings import setting, settings
from genie_connect.model.suppression import Suppression, SuppressionReason, SuppressionScope
from genie_connect.registry import Registry
from genie_connect.sync_host import SyncHost

__all__ = [
    "Address",
    "Attachment",
    "Attempt",
    "Batch",
    "BounceClass",
    "Capability",
    "CapabilityTable",
    "ConfigurationError",
    "ConnectorInfo",
    "ConnectorUnavailable",
    "ContractViolation",
    "Delivery",
    "Diagnosis",
    "Event",
    "EventKind",
    "GenieConnectError",
    "Host",
    "Kind",
    "Level",
    "Message",
    "NoConnection",
    "Outcome",
    "Outcomes",
    "Plan",
    "Problem",
    "Purpose",
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
    "Suppression",
    "SuppressionReason",
    "SuppressionScope",
    "SyncHost",
    "TestContext",
    "ValidationError",
    "WebhookRejected",
    "WebhookRequest",
    "hookimpl",
    "setting",
    "settings",
    "structure",
    "unstructure",
]
