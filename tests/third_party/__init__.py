"""A connector package as a stranger makes it: from ``genie-connect new`` to its removal, in a clean environment."""
