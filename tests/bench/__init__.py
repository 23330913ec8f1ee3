"""Benchmarks: run with ``./dev bench [WHAT]``. They measure and print; no test depends on them."""
