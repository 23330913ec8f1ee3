"""Test doubles for hosts and connectors: a clock that the test moves, a connector that follows a script."""
