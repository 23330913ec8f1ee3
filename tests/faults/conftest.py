"""The certificates of the scripted server."""

from __future__ import annotations

from genie_connect_spec.fixtures import smtp_certificates

__all__ = ["smtp_certificates"]
