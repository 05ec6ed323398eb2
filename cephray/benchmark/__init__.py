"""Benchmarks: correctness first, then times, both sides in one run."""
