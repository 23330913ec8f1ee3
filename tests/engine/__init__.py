"""The engines: the contract that all of them pass, and what each does of its own."""
