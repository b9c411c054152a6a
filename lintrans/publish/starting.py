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

One sentence: what was found, and how large it is. Then who needs to know, with one real model's number.

```{admonition} The question
What is asked, in one sentence that a measurement can answer.
```

## What is run

```{code-cell} ipython3
:tags: [parameters]

scale: str = "paper"  # "paper", or "quick" for the same code in little time
seeds: int = 0  # seeds of each optimizer; 0: three
device: str = "auto"  # "auto", "cpu", "cuda"
```

```{code-cell} ipython3
:tags: [hide-input]

import lintrans as lt
from lintrans.paper import figures

page = lt.book.parameters(scale=scale, seeds=seeds, device=device)
figures.use()
model, task = lt.LinearTransformer(layers=1, d=3), lt.LinearRegression(d=3, n=8)
runs = lt.grid(optimizer=["sgd", "adam"], lr=0.05, seed=range(page.seeds or 3))
history = lt.experiment(model, task, runs, steps=50, batch=32, device=page.device, engine="reference")
ends = history.metric("test_loss").query("step == 50").groupby("optimizer")["value"].median()
```

## What is seen

```{code-cell} ipython3
---
mystnb:
  figure:
    caption: Test loss against training step, one layer in three dimensions.
    name: fig-LABEL
  image:
    alt: Test loss on a logarithmic axis against training step, one curve for SGD (dashed vermilion)
      and one for Adam (solid blue).
tags: [hide-input]
---
figures.loss_curves({"1": history})
```

```{code-cell} ipython3
:tags: [remove-input]

lt.book.say(f"After 50 steps Adam's test loss is {ends['adam']:.2f}, SGD's {ends['sgd']:.2f}, as medians over seeds.")
```

## What it means

What follows, first; then what it does not show.

## On your own

```{exercise}
:label: ex-LABEL

A question that this page's parameters can answer.
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
