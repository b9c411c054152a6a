"""Compiled loops on the CPU: numba kernels, written once per shape, kept on disk."""
