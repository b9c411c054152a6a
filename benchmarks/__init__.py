"""Timings of the engines against other ways to do the same; see :mod:`benchmarks.bench`."""
