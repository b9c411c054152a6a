"""The command line: thin, and every error one line that names the value and what is allowed.

The book's own commands stand here, those on stored results and on verdicts in modules of their own; what they share,
so that options, words and errors stay alike, is in :mod:`.commands`.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
import time
from pathlib import Path
from typing import Any

import click

from ..errors import nearest
from .chapter_parameters import check
from .chapters import BookError
from .cli_results import results
from .cli_verdicts import stability_command, twice_command, verdicts_command
from .commands import (
    INTERRUPTED,
    STOPPED,
    Suggesting,
    any_scale_option,
    dask_option,
    exit_if_failed,
    jobs_option,
    scale_option,
    stand_in_for,
    tell,
    writable,
)
from .listing import width, wrapped
from .notebooks import HALVES, PairError, Unreadable, read
from .processes import ignore_endings, stop_as_by_ctrl_c


@click.group(cls=Suggesting, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="lintrans")
def main() -> None:
    """Linear Transformers on random linear regression: the library's book and its stored results.

    \b
    lintrans build --scale quick                execute and build the book in small
    lintrans execute adam_vs_sgd -p seeds 12    one chapter, with a parameter of your own
    lintrans results list                       what was computed, and how long it took
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by who started this; kernels and bars want to have one
            stand_in_for(name)


def start() -> None:
    """Run the command line as a program: any signal to end is taken as Ctrl-C, which is one line."""
    stop_as_by_ctrl_c()
    status: int | str | None = 0
    try:
        main()
    except SystemExit as ending:
        status = ending.code
    except KeyboardInterrupt:  # before a command was begun
        click.echo(f"\n{STOPPED}", err=True)
        status = INTERRUPTED
    ignore_endings()
    for child in multiprocessing.active_children():  # a kernel that an interrupt met half begun, or Python waits for it
        child.kill()
    sys.exit(status)


@main.command("chapters")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def chapters_command(as_json: bool) -> None:
    """List the chapters and their parameters, with type, default and meaning."""
    from .book import chapters, find_root

    found = chapters(find_root())
    if as_json:
        click.echo(json.dumps([_chapter(chapter) for chapter in found], indent=1))
        return
    for chapter in found:
        click.echo(f"{chapter.name}: {chapter.title}")
        for item in _parameters(chapter):
            click.echo(wrapped(f"    {item.name}: {item.kind} = {item.default!r}  {item.comment}".rstrip(), 8))


@main.command("execute")
@click.argument("names", nargs=-1, metavar="[CHAPTER]...")
@any_scale_option
@click.option("-p", "values", nargs=2, multiple=True, metavar="NAME VALUE", help="A parameter; repeatable.")
@click.option("--force", is_flag=True, help="Execute even if nothing has changed.")
@dask_option
@jobs_option
def execute_command(
    names: tuple[str, ...], scale: str, values: tuple[tuple[str, str], ...], force: bool, address: str | None,
    jobs: int | None,
) -> None:  # fmt: skip
    """Execute chapters (all, if none is named), or use copies again whose inputs have not changed.

    Copies go to build/SCALE/src/book. With -p they go to build/SCALE/custom and never into the book.

    \b
    lintrans execute                            every chapter, at the paper's scale
    lintrans execute adam_vs_sgd --scale quick
    lintrans execute adam_vs_sgd -p seeds 12 -p device cuda
    lintrans execute --dask tcp://host:8786     trainings on a cluster
    """
    from .book import execute, find_root

    scale, given = _given(scale, values, names, "execute")
    report = execute(find_root(), scale, names, given, force, say=tell, jobs=jobs)
    for outcome in report.outcomes:
        if outcome.path is not None and (given or len(report.outcomes) == 1):
            tell(_relative(outcome.path))
    exit_if_failed(report)


def _given(
    scale: str, values: tuple[tuple[str, str], ...], names: tuple[str, ...], command: str
) -> tuple[str, dict[str, str]]:
    """The scale, which papermill takes as a parameter, and the other parameters."""
    given = dict(values)
    if "scale" in given:
        scale = given.pop("scale")
        check("scale", scale, "str")
    if given and not names:
        raise BookError(f"-p needs a chapter: lintrans {command} CHAPTER -p NAME VALUE")
    return scale, given


@main.command("plan")
@click.argument("names", nargs=-1, metavar="[CHAPTER]...")
@any_scale_option
@click.option("-p", "values", nargs=2, multiple=True, metavar="NAME VALUE", help="A parameter; repeatable.")
@click.option("--workers", type=click.IntRange(min=1), multiple=True, help="A number of processes; repeatable.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def plan_command(
    names: tuple[str, ...], scale: str, values: tuple[tuple[str, str], ...], workers: tuple[int, ...], as_json: bool
) -> None:
    """Say what chapters (all, if none is named) would compute, before anything starts.

    Trainings that are not stored: runs, steps, shards, memory, and seconds by a short timing of each shape on this
    machine. A search for rates is planned as if the middle rate were best; measurements that are not stored are named
    and not timed.

    \b
    lintrans plan larger                        at the paper's scale
    lintrans plan depth -p seeds 30 --workers 100
    """
    from .book import find_root
    from .planning import WORKERS, plan, plan_json, plan_lines

    scale, given = _given(scale, values, names, "plan")
    plans = list(plan(find_root(), scale, names, given))
    if as_json:
        click.echo(json.dumps(plan_json(plans), indent=1))
        return
    click.echo("\n".join(plan_lines(plans, width(), workers or WORKERS)))


@main.command("build")
@scale_option
@click.option("--no-execute", is_flag=True, help="Build from the copies that there are.")
@click.option("--pairs", "settle", is_flag=True, help="Before that, what `lintrans pairs` does.")
@dask_option
@jobs_option
def build_command(scale: str, no_execute: bool, settle: bool, address: str | None, jobs: int | None) -> None:
    """Execute what is missing or out of date, then build the pages.

    \b
    lintrans build --scale quick                a few minutes, for a look
    lintrans build                              the paper's scale
    """
    from .book import build, find_root

    start = time.monotonic()
    if settle:
        _settle((), False, None, going_on=True)
    built = build(find_root(), scale, run=not no_execute, tell=tell, jobs=jobs)
    tell(f"built in {time.monotonic() - start:.0f} s; open {built.index}")
    exit_if_failed(built.report)


@main.command("pdf")
@scale_option
@click.option(
    "--to", "target", type=click.Path(dir_okay=False, path_type=Path), callback=writable,
    help="The file. [default: build/SCALE/book.pdf]",
)  # fmt: skip
@click.option("--page", "name", metavar="PAGE", help="Only this page, on one sheet, such as summary.")
def pdf_command(scale: str, target: Path | None, name: str | None) -> None:
    """Print the built site as one PDF with outline and page numbers, by an installed Chromium.

    \b
    lintrans pdf --scale quick                  after lintrans build --scale quick
    lintrans pdf --page summary                 the summary, on one sheet
    """
    from .book import find_root
    from .printing import one_page, pdf

    root = find_root()
    tell(_relative(one_page(root, scale, name, target) if name else pdf(root, scale, target)))


@main.command("new-chapter")
@click.argument("name")
@click.option("--title", default="", help="Its title. [default: the name in words]")
def new_chapter_command(name: str, title: str) -> None:
    """Start a chapter from a template: both halves, and a line in the table of contents.

    \b
    lintrans new-chapter two_rates --title "Two learning rates"
    """
    from .book import find_root
    from .starting import start

    text = start(find_root(), name, title)
    tell(f"wrote {_relative(text)}, its notebook and a line in _toc.yml; try it:")
    tell(f"  lintrans execute {name} --scale quick")


@main.command("pairs")
@click.argument("names", nargs=-1, metavar="[CHAPTER]...")
@click.option("--check", "only_check", is_flag=True, help="Only report; exit with 1 if something is to be done.")
@click.option("--take", type=click.Choice(HALVES), help="Believe this half of the chapters named.")
def pairs_command(names: tuple[str, ...], only_check: bool, take: str | None) -> None:
    """Make both halves of each chapter say the same: the half that was edited wins, by content, not by time.

    \b
    lintrans pairs                              after an edit of either half
    lintrans pairs --check                      report only
    lintrans pairs --take text adam_vs_sgd      both were edited: keep the text
    """
    _settle(names, only_check, take)


def _settle(names: tuple[str, ...], only_check: bool, take: str | None, going_on: bool = False) -> None:
    """What `lintrans pairs` does; `going_on`: files that cannot be read are said, and stop nothing."""
    from .book import find_root
    from .notebooks import conflict, pairs, settle, state

    known = {pair.name: pair for pair in pairs(find_root())}
    wanted = [Path(name).stem for name in names] or list(known)
    for name in wanted:
        if name not in known:
            raise BookError(f"there is no chapter {name!r}: there are {', '.join(known)}{nearest(name, list(known))}")
    if take and not names:
        raise BookError(f"--take needs a chapter: lintrans pairs --take {take} CHAPTER")
    bad = 0
    for name in wanted:
        try:
            if not only_check:
                line = settle(known[name], take)
                tell(line) if line else None
                continue
            found = state(known[name])
            if not found.settled:
                bad += not found.harmless
                text = conflict(known[name], found) if found.edited == "both" else f"{name}: {found.why}\n{found.diff}"
                click.echo(text.rstrip())
        except PairError as error:
            bad += not (going_on and isinstance(error, Unreadable))
            click.echo(str(error), err=True)
    if bad:
        if only_check:
            click.echo("settle this with: lintrans pairs", err=True)
        sys.exit(1)


@main.command("lab", context_settings={"ignore_unknown_options": True})
@click.argument("more", nargs=-1, type=click.UNPROCESSED, metavar="[JUPYTER OPTION]...")
@click.option("--port", type=int, default=8888, show_default=True, help="The first port to try, on this machine only.")
@click.option("--browser/--no-browser", default=True, show_default=True, help="Open a browser.")
def lab_command(more: tuple[str, ...], port: int, browser: bool) -> None:
    """Edit chapters in JupyterLab, on this machine only; saving writes both halves, without outputs.

    \b
    lintrans lab --allow-root                   what it does not know goes to JupyterLab
    """
    from .book import find_root
    from .lab import serve

    serve(find_root(), port, browser, more)


for command in (results, verdicts_command, stability_command, twice_command):
    main.add_command(command)


@main.command("doctor")
def doctor_command() -> None:
    """Show versions, the device that "auto" takes, the store, and which tools are here."""
    from .doctor import findings

    for name, value in findings():
        click.echo(wrapped(f"{name:16} {value}", 17))


def _parameters(chapter: Any) -> list[Any]:
    """What a chapter's parameters cell declares; nothing, and a line, where a half cannot be read."""
    try:
        read(chapter.text)
        return list(chapter.parameters().values())
    except (PairError, FileNotFoundError) as error:
        click.echo(f"lintrans: {error}", err=True)
        return []


def _chapter(chapter: Any) -> dict[str, Any]:
    items = [vars(item) for item in _parameters(chapter)]
    return {"name": chapter.name, "title": chapter.title, "parameters": items}


def _relative(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
