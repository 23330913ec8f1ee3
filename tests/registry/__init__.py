"""Loading connectors, and calling them."""
