"""Genie Connect: an email connector framework that a host application embeds."""
