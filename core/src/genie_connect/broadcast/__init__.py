"""Broadcasts: reading recipients, loading them into the ledger, and following how far they are."""
