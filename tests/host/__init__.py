"""The doors: Host, SyncHost and the configuration."""
