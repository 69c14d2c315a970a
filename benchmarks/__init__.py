"""Benchmarks of the public calls; run from the repository's root."""
