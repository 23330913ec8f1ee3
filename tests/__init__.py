"""Tests that cross packages, one folder for each area."""
