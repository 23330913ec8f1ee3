"""Connectors for Genie Connect, one module for each provider."""
