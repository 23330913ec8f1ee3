"""The values of the model."""
