"""What is promised of durable work, put to the test: processes are killed, frozen, cut off, and nothing may be lost."""
