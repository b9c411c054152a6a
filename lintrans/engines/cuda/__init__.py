"""Compiled loops on a GPU: one thread a run, by numba-cuda."""
