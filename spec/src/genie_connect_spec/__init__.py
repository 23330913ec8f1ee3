"""The written contract for Genie Connect connectors, and the kit that checks one against it."""
