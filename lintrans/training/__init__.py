"""Training: optimizers, runs, probes, and the loop that joins them.

:mod:`.runs` says what is compared, :mod:`.train` is the loop, :mod:`.history` what it returns. Engines compute the
steps; nothing here knows which.
"""
