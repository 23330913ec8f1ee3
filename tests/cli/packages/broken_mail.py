"""A connector that cannot be imported."""

raise RuntimeError("the engine is missing")
