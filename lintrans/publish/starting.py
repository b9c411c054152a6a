"""A new chapter from a template: its two halves, and its line in the table of contents."""

from __future__ import annotations

import re
from pathlib import Path

from ..files import write
from .chapters import BookError, pages
from .notebooks import Pair, settle

TEMPLATE = """---
jupytext:
  formats: ipynb,md:myst
  text_representation:
    extension: .md
    format_name: myst
    format_version: 0.13
kernelspec:
  display_name: Python 3
  language: python
  name: python3
---

# TITLE

```{code-cell} ipython3
:tags: [parameters]

scale: str = "paper"  # "paper", or "quick" for the same code in little time
seeds: int = 0  # seeds of each optimizer; 0: three
device: str = "auto"  # "auto", "cpu", "cuda"
```

```{code-cell} ipython3
:tags: [remove-cell]

import lintrans as lt
from lintrans.paper import figures
from lintrans.paper.claims.rules import Keys, ratio_unit
from lintrans.paper.pages import template
from lintrans.paper.pages.words import said
from lintrans.statistics import geometric_ratio

page = lt.book.parameters(scale=scale, seeds=seeds, device=device)
figures.use()
model, task = lt.LinearTransformer(layers=1, d=3), lt.LinearRegression(d=3, n=8)
runs = lt.grid(optimizer=["sgd", "adam"], lr=0.02, seed=range(page.seeds or 3))
history = lt.experiment(model, task, runs, steps=100, batch=32, device=page.device, engine="reference")
losses = history.metric("test_loss").pivot(index="step", columns=["optimizer", "seed"], values="value")
units = {
    step: ratio_unit("one layer", f"SGD's loss over Adam's, step {step}", geometric_ratio(*both), True, Keys())
    for step in (50, 100)
    for both in [[losses.loc[step, name].to_numpy() for name in ("sgd", "adam")]]
}
words = {
    "yes": "Adam ends lower",
    "weak": "Adam ends a little lower",
    "null": "both end alike",
    "rev": "SGD ends lower",
    "undecided": "it is open who ends lower",
}
result = said([units[100]], **words, line="{words}: {interval}")
```

```{code-cell} ipython3
:tags: [remove-input]

lt.book.say(f"> **After 100 steps** {result}.")
```

```{code-cell} ipython3
---
mystnb:
  figure:
    caption: Test loss against training step, one layer in three dimensions.
    name: fig-LABEL
  image:
    alt: Test loss on a logarithmic axis against training step, one curve for SGD (dashed vermilion)
      and one for Adam (solid blue). The title says which ends lower.
tags: [hide-input]
---
figure = figures.titled(figures.loss_curves({"1": history}), result)
figure.axes[0].set_title("one layer in three dimensions")
figure
```

## The claim

What is claimed, by whom, in which section and figure.

**Why it matters.** Who needs to know, with one real model's number and its source.

## Setup

```{code-cell} ipython3
:tags: [remove-input]

template.steps(
    "8 examples a prompt",
    "L = 1, d = 3",
    f"SGD and Adam, 100 steps, {page.seeds or 3} seeds",
    "loss of one test batch",
    "SGD's end loss over Adam's",
)
```

:::{dropdown} Details
What a reader needs only to do it again.
:::

## Result

What the figure shows, in one paragraph; at most three figures.

## How fragile?

```{code-cell} ipython3
:tags: [remove-input]

same = sum(unit.state is units[100].state for unit in units.values())
template.lights(
    {
        "convention": template.Lamp(0, 0, "no other way to judge was tried"),
        "test batch": template.Lamp(0, 0, "one batch"),
        "horizon": template.Lamp(same, len(units), "horizons say the same"),
        "seeds": template.Lamp(0, 0, f"{page.seeds or 3} seeds"),
    }
)
```

## What it means

What follows, first; then what it does not show.

**Try it in the lab**: [both optimizers, at rates of your own](lab.html#preset=c1).

## Exercises

```{exercise}
:label: ex-LABEL
Is the order of the two optimizers the same after half of the steps?
```

```{code-cell} ipython3
:tags: [remove-input]

lt.book.say(template.answer(said([units[50]], **words, line="After 50 steps {words}: {interval}.")))
```

## All numbers

```{code-cell} ipython3
:tags: [remove-input]

medians = losses.T.groupby("optimizer").median().T.reset_index().map(lambda number: f"{number:.3g}")
lt.book.say(template.all_numbers({"**Medians over seeds.**": medians}))
```

```{code-cell} ipython3
:tags: [remove-input]

lt.book.provenance()
```
"""


def start(root: Path, name: str, title: str = "") -> Path:
    """Write the chapter `name` and its line in ``_toc.yml``, after the last numbered one; returns its text half.

    Raises:
        BookError: a name that is not allowed, or that a page has.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name):
        raise BookError(f"a chapter cannot be called {name!r}: give small letters, digits and _, such as two_rates")
    if f"book/{name}" in pages(root) or any((root / "book" / f"{name}{end}").exists() for end in (".md", ".ipynb")):
        raise BookError(f"there is a page {name!r} already: give another name, or edit book/{name}.md")
    contents = (root / "_toc.yml").read_text("utf-8")
    extended = _with_line(contents, f"book/{name}")
    pair = Pair(root, name)
    title = title or name.replace("_", " ").capitalize()
    write(pair.text, TEMPLATE.replace("TITLE", title).replace("LABEL", name.replace("_", "-")))
    settle(pair)  # the notebook
    settle(pair, "text")  # the text as Jupytext writes it
    write(root / "_toc.yml", extended)
    return pair.text


def _with_line(contents: str, page: str) -> str:
    """``_toc.yml`` with a page at the end of the last part whose chapters have numbers, else at the end."""
    parts = re.split(r"(?m)^(?=  - caption:)", contents)
    numbered = [number for number, part in enumerate(parts) if "numbered: true" in part]
    place = numbered[-1] if numbered else len(parts) - 1
    parts[place] = f"{parts[place].rstrip()}\n      - file: {page}\n"
    return "".join(parts)
