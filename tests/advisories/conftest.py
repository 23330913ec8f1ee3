"""Scripted servers and their certificates."""

from __future__ import annotations

from genie_connect_spec.fixtures import scripted_smtp, smtp_certificates

__all__ = ["scripted_smtp", "smtp_certificates"]
