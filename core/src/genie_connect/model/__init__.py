"""The frozen values of Genie Connect: addresses, messages, outcomes, capabilities, settings."""
