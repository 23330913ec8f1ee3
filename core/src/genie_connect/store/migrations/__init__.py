"""The steps from one version of the store's schema to the next, for alembic. ``./dev migration`` writes a new one."""
