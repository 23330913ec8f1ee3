"""How much the conformance kit notices: our own connectors, broken in one place, under the kit and nothing else."""
