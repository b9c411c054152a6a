"""Measurements on trained problems, each kept in the store.

What a module here imports is part of the key of its tables.
"""
