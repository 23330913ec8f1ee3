"""What the kit's providers can be told to do wrong."""

from __future__ import annotations

from enum import StrEnum


class Behaviour(StrEnum):
    """How a provider treats what it is asked."""

    NORMAL = "normal"
    SILENT = "silent"
    """takes everything, and never answers"""
    CLOSED = "closed"
    """takes everything, and ends the connection in place of an answer"""
    TRUNCATED = "truncated"
    """begins an answer, and ends the connection in its middle"""
    GARBAGE = "garbage"
    """answers with a success whose content nobody can read"""
    BROKEN = "broken"
    """answers that it has a fault of its own (HTTP 500)"""
    THROTTLED = "throttled"
    """answers that this is too much for now"""
    UNAUTHORIZED = "unauthorized"
    """refuses the credentials"""
    FORBIDDEN = "forbidden"
    """knows the credentials and does not let them do this (HTTP 403)"""
    REDIRECTING = "redirecting"
    """sends the client to another server"""
    HASTY = "hasty"
    """answers properly and ends the connection after each answer"""
