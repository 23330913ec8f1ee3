"""From a message to outcomes: suppression gate, planner, breaker, limiter, attempt loop."""
