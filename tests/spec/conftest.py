"""The kit's own fixtures, taken as a plug-in author would take them."""

from genie_connect_spec.fixtures import scripted_smtp, smtp_certificates

__all__ = ["scripted_smtp", "smtp_certificates"]
