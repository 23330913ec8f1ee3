"""The local inbox: session, server and certificates."""
