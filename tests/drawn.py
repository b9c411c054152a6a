"""What figures under test show."""

from __future__ import annotations

import io

from matplotlib.figure import Figure
from matplotlib.text import Text


def svg(figure: Figure) -> str:
    """The bytes of a figure, without date and author."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def texts(figure: Figure) -> set[str]:
    """Every text in it."""
    return {str(text.get_text()) for text in figure.findobj(Text)}
