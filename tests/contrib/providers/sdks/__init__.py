"""The vendors' own libraries, each in a module of its own with the message put into it as its documentation shows."""
