"""The publisher of the book: chapters as pairs, executed once, built as a site.

:mod:`.cli` is the command line, :mod:`.book` says where the rest is.
"""
