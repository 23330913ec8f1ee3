"""Working on units: claiming them, sending what they hold, and looking after those whose worker died."""
