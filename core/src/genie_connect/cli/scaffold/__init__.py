"""The files that ``genie-connect new`` writes."""
