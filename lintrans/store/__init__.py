"""Results, found by what defines their numbers, or computed and kept.

:mod:`.results` asks, :mod:`.store` keeps files and checks them, :mod:`.sources` digests the code behind a number.
"""
