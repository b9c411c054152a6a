"""The executable book, by the name that chapters call it; see :mod:`lintrans.publish.book`."""

from .publish.book import *  # noqa: F403 - its __all__ says what
