"""Broadcasts: lists that are read, loaded whole, and sent once, whatever happens to the processes."""
