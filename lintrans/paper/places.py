"""Figures and tables of the paper (arXiv version 1), and the claims that they are about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .claims.scorecard import CLAIMS


@dataclass(frozen=True)
class Place:
    """A figure or table of the paper, its section, what it shows, for which claims; `borrowed` from other work."""

    name: str
    section: str
    shows: str
    claims: tuple[str, ...] = ()
    borrowed: bool = False

    def labels(self) -> tuple[str, ...]:
        """Labels of our figures of these claims, each once."""
        found: list[str] = []
        for claim in self.claims:
            figure: str | Mapping[str, str] = CLAIMS[claim].FIGURE
            found += [figure] if isinstance(figure, str) else figure.values()
        return tuple(dict.fromkeys(label for label in found if label))

    def pages(self) -> tuple[str, ...]:
        """Chapters that judge these claims."""
        return tuple(dict.fromkeys(str(CLAIMS[claim].CHAPTER) for claim in self.claims))


PLACES = (
    Place("Figure 1", "1", "Adam against SGD on image classifiers and on Transformers", borrowed=True),
    Place("Figure 2", "3.2", "the gap between Adam and SGD, Settings 1 to 3", ("C1",)),
    Place("Figure 3", "3.2", "gradient noise at initialization, Settings 1 to 3", ("C2",)),
    Place("Figure 4", "3.2", "tables of the robust condition number, SGD over Adam", ("C3",)),
    Place("Figure 5", "3.2", "directional smoothness along training, Settings 1 to 3", ("C4",)),
    Place("Figure 6", "2.2", "gradient noise of image classifiers and of Transformers", borrowed=True),
    Place("Figure 7", "3.1", "softmax against linear attention", ("C13",)),
    Place("Figure 8", "3.2", "a larger model, L = 8, d = 20, n = 60", ("C14",)),
    Place("Figure 9", "3.2", "gradient norm against smoothness, Settings 1 to 3", ("C5",)),
    Place("Figure 10", "4.1", "loss, spherical against heavy-tailed covariates", ("C8",)),
    Place("Figure 11", "4.1", "gradient noise, spherical against heavy-tailed covariates", ("C6",)),
    Place("Figure 12", "4.1", "robust condition number, spherical against heavy-tailed covariates", ("C7",)),
    Place("Figure 13", "4.2", "loss for L = 2, 4, 6, 8", ("C9", "C10")),
    Place("Figure 14", "4.2", "gradient noise for L = 2, 4, 6, 8", ("C11",)),
    Place("Figure 15", "4.2", "robust condition number for L = 2, 4, 6, 8", ("C12",)),
    Place("final version", "not in v1", "nonlinear regression", ("C15",)),
    Place("text", "3.2", "the smallest model that shows all behaviours", ("C16",)),
    Place("contributions", "1", "more pronounced with heavy tails and with depth", ("C17",)),
)
"""Numbers and sections are those of arXiv version 1; the final version may count differently."""
