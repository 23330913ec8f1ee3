"""Durable work: what is written down, when, and what comes of it."""
