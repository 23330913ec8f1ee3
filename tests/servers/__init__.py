"""Servers that are no mail servers, started from what a Python package brings along."""
