"""Connectors that break one rule each, and the honest one that they are made of."""
