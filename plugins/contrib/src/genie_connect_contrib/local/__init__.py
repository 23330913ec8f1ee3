"""Connectors that put messages into folders of this machine: what ``file`` and ``maildir`` share.

``connector.py`` has the hooks, ``writing.py`` writes one file so that it is there whole or not at all.
"""
