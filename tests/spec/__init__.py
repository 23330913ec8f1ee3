"""The conformance kit: the scripted SMTP server and its grids of faults."""
