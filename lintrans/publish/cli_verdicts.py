"""What was judged: ``lintrans verdicts``, ``stability`` and ``twice``."""

from __future__ import annotations

import json
import math
from functools import partial
from pathlib import Path
from typing import Any

import click

from ..errors import nearest
from ..paper.scale_names import OFFSETS, SCALE_NAMES
from .chapters import BookError
from .commands import (
    exit_if_failed,
    jobs_option,
    keep_option,
    one_scale_help,
    scale_form,
    scale_help,
    scale_name,
    scale_option,
    tell,
)
from .listing import case_lines, chosen, plain, repeat_lines, twice_lines, verdict_lines, width


def _finite(_: click.Context, __: click.Parameter, value: float) -> float:
    """A number; ranges of options let NaN pass, and nothing compares with it."""
    if math.isnan(value):
        raise click.BadParameter("nan is no number of minutes: give one of at least 0")
    return value


@click.command("verdicts")
@click.option(
    "--scale",
    callback=scale_name,
    metavar=scale_form,
    help=one_scale_help,
)
@click.option("--claim", "names", multiple=True, metavar="CLAIM", help="Only this claim; repeatable.")
@click.option("--cases", is_flag=True, help="A row for each case, those beside the verdict included.")
@click.option("--json", "as_json", is_flag=True, help="As JSON: a list of objects, numbers finite or null.")
def verdicts_command(scale: str | None, names: tuple[str, ...], cases: bool, as_json: bool) -> None:
    """Show the stored verdicts: a row for each claim and reading, the sizes of effects first.

    \b
    lintrans verdicts --scale paper             what was judged, and by how much
    lintrans verdicts --claim C3 --cases        every case of a claim
    """
    from ..paper.claims import claim_names, verdict_frame, verdict_records

    wanted, known = [name.upper() for name in names], claim_names()
    for name in wanted:
        if name not in known:
            raise BookError(f"there is no claim {name!r}: there are {', '.join(known)}{nearest(name, known)}")
    if as_json:
        frame = verdict_frame(scale)
        frame = frame[frame["claim"].isin(wanted)] if wanted else frame
        click.echo(json.dumps(_records(frame), indent=1, allow_nan=False))
        return
    kept = {each: chosen(verdict_records(each), wanted) for each in ([scale] if scale else SCALE_NAMES)}
    for each, records in kept.items():
        if records:
            click.echo(f"scale {each}")
            click.echo("\n".join([*(case_lines if cases else verdict_lines)(records, width()), ""]))
    if not any(kept.values()):
        click.echo("no verdicts yet: execute the chapters (lintrans execute)")
    elif not cases:
        click.echo("Estimates are those of the cases that decide; all: lintrans verdicts --cases")


@click.command("stability")
@click.argument("names", nargs=-1, metavar="[CHAPTER]...")
@scale_option
@click.option(
    "--offset",
    type=click.IntRange(OFFSETS[0], OFFSETS[-1]),
    default=100,
    show_default=True,
    help="What is added to judging seeds and batches.",
)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@keep_option
@jobs_option
def stability_command(
    names: tuple[str, ...], scale: str, offset: int, as_json: bool, keep: Path | None, jobs: int | None
) -> None:
    """Judge again with other seeds and batches, and show which states change.

    Executes the chapters that judge (those named, else all) at SCALE+OFFSET, at the rates found for SCALE, and compares
    the cases that were decided at SCALE, which has to have been executed.

    \b
    lintrans stability                          every verdict, at the paper's scale
    lintrans stability adam_vs_sgd --scale quick

    A file given with --keep holds on to what it has of other claims.
    """
    from ..paper.claims.stability import keep as write
    from .book import find_root
    from .repeating import repeated

    say = partial(click.echo, err=True) if as_json else tell
    report, made = repeated(find_root(), scale, offset, names, say, jobs)
    click.echo(made.json() if as_json else "\n".join(repeat_lines(made, width())))
    if keep is not None and report.failed:
        click.echo(f"lintrans: {keep} is not written, since a chapter failed: mend it and call again", err=True)
    elif keep is not None:
        write(made, keep)
    exit_if_failed(report)


@click.command("twice")
@click.option("--scale", type=click.Choice(SCALE_NAMES), default="paper", show_default=True, help=scale_help)
@click.option("--claim", "names", multiple=True, metavar="CLAIM", help="Only this claim; repeatable.")
@click.option(
    "--minutes", type=click.FloatRange(min=0), default=20.0, show_default=True, callback=_finite, help="For all of it."
)
@click.option("--seeds", type=click.IntRange(min=1), default=2, show_default=True, help="The first judging seeds.")
@click.option("--batches", type=click.IntRange(min=1), default=2, show_default=True, help="Batches of curvature.")
@click.option("--list", "only_list", is_flag=True, help="Estimate, and compute nothing.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@keep_option
def twice_command(
    scale: str, names: tuple[str, ...], minutes: float, seeds: int, batches: int, only_list: bool, as_json: bool,
    keep: Path | None,
) -> None:  # fmt: skip
    """Compute reversed and changed cases once more, end to end, by the second implementation.

    Each at its own horizon, rates and prompts, the cheapest first, as many as fit into the minutes given; the others
    are listed with what they would take. Every piece is stored at once: the next call goes on from there.

    \b
    lintrans twice --list                       which cases, and how long each would take
    lintrans twice --claim C3 --minutes 60
    """
    from ..paper.claims import claim_names
    from ..paper.claims.twice import keep as write
    from ..paper.second.cases import compute

    wanted, known = tuple(name.upper() for name in names), claim_names()
    for name in wanted:
        if name not in known:
            raise BookError(f"there is no claim {name!r}: there are {', '.join(known)}{nearest(name, known)}")
    made = compute(scale, minutes, seeds, batches, wanted, only_list)
    click.echo(made.json() if as_json else "\n".join(twice_lines(made, width())))
    if keep is not None:
        write(made, keep)


def _records(frame: Any) -> list[dict[str, Any]]:
    """The frame's rows, with null for what is missing or not finite."""
    return [{str(name): plain(value) for name, value in row.items()} for row in frame.to_dict("records")]
