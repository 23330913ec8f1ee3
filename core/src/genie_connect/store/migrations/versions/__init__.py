"""One module for each version, numbered in their order."""
