"""What chapters show: tables and numbers, a module a chapter, named like it.

The sentences stand in the chapters themselves, beside their paragraphs, made with :func:`lintrans.claims.words.said`.
:mod:`.common` holds what several chapters show.
"""
