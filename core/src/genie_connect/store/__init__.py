"""What is kept in SQL: the ledger of work, suppressions, connections with their secrets, events, health.

Needs the extra ``store``. Everything here is opened through ``genie_connect.store.database.Database``.
"""
