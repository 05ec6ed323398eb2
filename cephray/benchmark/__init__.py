"""Benchmarks: correctness first, then times, both sides in one run.

Each has a module with a function `run`; the command line imports the one that it needs.
"""
