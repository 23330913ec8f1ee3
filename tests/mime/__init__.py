"""The message writer."""
