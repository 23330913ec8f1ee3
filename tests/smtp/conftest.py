"""Fixtures, and a check after each test that no connection or task is left behind."""

from __future__ import annotations

from genie_connect_spec.fixtures import scripted_smtp, smtp_certificates

__all__ = ["scripted_smtp", "smtp_certificates"]
