"""The command line: thin, and every error one line that names the value and what is allowed.

All commands stand in one file, long as it is, so that their options, words and errors stay alike.
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import json
import math
import os
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import click

from ..errors import brief, nearest
from ..paper.scale_names import OFFSETS, OTHERS, SCALE_NAMES, based_on
from ..progress import wiped
from .chapter_parameters import ParameterError, check
from .chapters import BookError
from .listing import case_lines, chosen, plain, repeat_lines, size, twice_lines, verdict_lines, width, wrapped
from .notebooks import HALVES, PairError, Unreadable, read
from .processes import ignore_endings, stop_as_by_ctrl_c

INTERRUPTED = 130
MOST_DAYS = 36_500
FULL_OR_FORBIDDEN = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM}
STOPPED = "lintrans: stopped; what was finished stays, the rest runs next time"
EXPECTED = (BookError, PairError, ParameterError)


class Suggesting(click.Group):
    """A group of commands that, for an unknown one, says which is nearest, and turns our errors into one line."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            names = self.list_commands(ctx)
            message = f"no command {args[0]!r}: there are {', '.join(names)}{nearest(args[0], names)}"
            raise click.UsageError(message, ctx)
        return super().resolve_command(ctx, args)

    def make_context(self, *arguments: Any, **more: Any) -> click.Context:
        try:
            return super().make_context(*arguments, **more)
        except KeyboardInterrupt:  # click would say "Aborted!", and exit with 1
            click.echo(f"\n{STOPPED}", err=True)
            sys.exit(INTERRUPTED)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except EXPECTED as error:
            click.echo(f"lintrans: {error}", err=True)
            ctx.exit(2)
        except ModuleNotFoundError as error:
            if error.name in ("jupytext", "papermill", "nbformat", "yaml", "jupyter_server", "packaging"):
                click.echo(f"lintrans: {error.name} is not installed: pip install 'lintrans[book]'", err=True)
                ctx.exit(2)
            raise
        except OSError as error:  # a disk that is full, a folder that may not be written or read
            where = f": {error.filename}" if error.filename else ""
            click.echo(f"lintrans: {error.strerror or error}{where}", err=True)
            ctx.exit(2)
        except KeyboardInterrupt:
            click.echo(f"\n{STOPPED}", err=True)
            ctx.exit(INTERRUPTED)


def _scale_name(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """A scale, or one with other judging seeds and batches."""
    try:
        based_on(value) if value is not None else None
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    return value


def _scheduler(ctx: click.Context, param: click.Parameter, address: str | None) -> str | None:
    """A scheduler that answers, whose workers fit; kernels find its address in the environment."""
    if address is not None:
        from .workers import Workers

        with Workers[str]() as workers:  # in a process of its own: a client has threads, and kernels may be copies
            workers.start("dask", _reachable, address)
            why = next((result for _, result in workers.finished()), "")
        if why is None or why:
            raise click.BadParameter(why or "the process that asked it died")
        os.environ["LINTRANS_DASK"] = address
    return address


def _reachable(address: str) -> str:
    from ..store.distributed import reachable

    return reachable(address)


scale_form = f"[{'|'.join(SCALE_NAMES)}][+OFFSET]"
scale_help = "As in the paper, or the same code in a few minutes."
scale_option = click.option(
    "--scale", type=click.Choice(SCALE_NAMES), default="paper", show_default=True, help=scale_help
)
any_scale_help = f"{scale_help[:-1]}; {OTHERS}, whose pages are never built."
any_scale_option = click.option(
    "--scale", callback=_scale_name, metavar=scale_form, default="paper", show_default=True, help=any_scale_help
)
one_scale_help = f"Only this scale; both by default. {OTHERS[:1].upper()}{OTHERS[1:]}."

offset_help = "What is added to judging seeds and batches."
dask_option = click.option(
    "--dask", "address", metavar="ADDRESS", callback=_scheduler,
    help="Compute trainings on the workers of this Dask scheduler, as tcp://host:8786.",
)  # fmt: skip
jobs_help = "Chapters at a time. [default: two, where there are two processors]"
jobs_option = click.option("--jobs", "-j", type=click.IntRange(min=1), default=None, help=jobs_help)


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
            _stand_in_for(name)


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
    sys.exit(status)


def _writable(_: click.Context, __: click.Parameter, path: Path | None) -> Path | None:
    """A file to write when all is computed, refused before anything is where it could not be written then."""
    if path is None:
        return None
    nearest_folder = next(folder for folder in path.absolute().parents if folder.exists())
    target = path if path.exists() else nearest_folder
    if not os.access(nearest_folder, os.W_OK) or not os.access(target, os.W_OK) or not nearest_folder.is_dir():
        raise click.BadParameter(f"{path} cannot be written: name a file in a folder of yours")
    return path


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
    report = execute(find_root(), scale, names, given, force, say=_tell, jobs=jobs)
    for outcome in report.outcomes:
        if outcome.path is not None and (given or len(report.outcomes) == 1):
            _tell(_relative(outcome.path))
    _exit_if_failed(report)


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
    built = build(find_root(), scale, run=not no_execute, tell=_tell, jobs=jobs)
    _tell(f"built in {time.monotonic() - start:.0f} s; open {built.index}")
    _exit_if_failed(built.report)


@main.command("pdf")
@scale_option
@click.option(
    "--to", "target", type=click.Path(dir_okay=False, path_type=Path), callback=_writable,
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
    _tell(_relative(one_page(root, scale, name, target) if name else pdf(root, scale, target)))


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
    _tell(f"wrote {_relative(text)}, its notebook and a line in _toc.yml; try it:")
    _tell(f"  lintrans execute {name} --scale quick")


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
                _tell(line) if line else None
                continue
            found = state(known[name])
            if not found.settled:
                bad += 1
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


@main.group(cls=Suggesting)
def results() -> None:
    """List, compare, check and remove stored results."""


@results.command("list")
@click.option("--json", "as_json", is_flag=True, help="As JSON: what is stored.")
def results_list(as_json: bool) -> None:
    """List what is stored: key, title, age, device, seconds, size; then what was begun and not finished."""
    from ..store.store import age, store

    kept = store()
    entries = kept.entries()
    if as_json:
        click.echo(json.dumps([_entry(entry) for entry in entries], indent=1))
        return
    for entry in entries:
        made = f"{entry.key[:12]}  {entry.created:%Y-%m-%d %H:%M}  {entry.device:4}"
        click.echo(wrapped(f"{made}  {entry.seconds:6.1f} s  {size(entry.bytes):>8}  {entry.title}", 14))
    if forbidden := kept.forbidden():
        click.echo(f"{len(forbidden)} may not be read by you, {forbidden[0]} for one")
    elif not entries:
        click.echo(f"nothing is stored in {kept.path}")
    for orphan in kept.unfinished():
        state = "under way" if kept.busy(orphan.key) else "goes on there when it is asked for"
        line = f"{orphan.key[:12]}  unfinished, at {orphan.where}, {age(orphan.created)} ({state})"
        click.echo(wrapped(f"{line}  {size(orphan.bytes):>8}  {orphan.title}", 14))


@results.command("size")
def results_size() -> None:
    """Show where the store lies and how large it is."""
    from ..store.store import store

    kept = store()
    click.echo(f"{kept.path}: {len(kept.entries())} experiments, {size(kept.size())}")


@results.command("show")
@click.argument("keys", nargs=-1, required=True, metavar="KEY [OTHER]")
def results_show(keys: tuple[str, ...]) -> None:
    """Show what made a stored result, or what differs between two (the beginning of a key will do).

    \b
    lintrans results show 3f2a9c                all that its record says
    lintrans results show 3f2a9c 77b01e         only what differs
    """
    from ..store.store import store

    if len(keys) > 2:
        raise BookError(f"{len(keys)} keys are too many: give one, or two to compare")
    facts = [entry.facts() for entry in _chosen(store().entries(), keys)]
    names = list(dict.fromkeys(name for each in facts for name in each))
    for name in names:
        values = [each.get(name, "-") for each in facts]
        if len(facts) == 1:
            click.echo(wrapped(f"{name}: {values[0]}", 2))
        elif values[0] != values[1]:
            click.echo(wrapped(f"{name}: {values[0]}  |  {values[1]}", 2))


@results.command("verify")
def results_verify() -> None:
    """Read all that is stored and compare it with its checksums; exits with 1 where something is wrong."""
    from ..store.store import store

    if _problems(store()):
        click.echo("set these aside with: lintrans results repair", err=True)
        sys.exit(1)
    click.echo(f"{len(store().entries())} experiments are what was stored")


@results.command("repair")
def results_repair() -> None:
    """Set damaged results aside, so that they are computed again when they are asked for."""
    from ..store.store import store

    kept = store()
    for key, problem in _problems(kept):
        try:
            kept.put_aside(key)
        except OSError as error:
            raise BookError(f"{key} cannot be set aside ({brief(error)}; {problem}): {kept.path}") from None
    click.echo(f"{len(kept.set_aside())} lie aside; delete them with: lintrans results prune --older-than 0")


def _problems(kept: Any) -> list[tuple[str, str]]:
    """Keys of what is not what was stored, each said."""
    found = []
    for key, problem in kept.problems():
        found.append((key, problem))
        click.echo(f"{key}: {problem}")
    return found


def _days(_: click.Context, __: click.Parameter, value: float | None) -> float | None:
    """An age in days, of which a date can be made."""
    if value is not None and not (math.isfinite(value) and 0 <= value <= MOST_DAYS):
        raise BookError(f"--older-than {value} is not allowed: give a number of days from 0 to {MOST_DAYS:,}")
    return value


@results.command("prune")
@click.option(
    "--older-than", type=float, metavar="DAYS", default=7.0, show_default=True, callback=_days, help="Only these."
)
def results_prune(older_than: float) -> None:
    """Delete what was begun and not finished, half-written or set aside; results stay."""
    from ..store.store import store

    try:
        paths, count = store().prune(older_than)
    except OSError as error:
        raise BookError(f"{error.filename} cannot be removed: {brief(error)}") from None
    click.echo(f"removed {len(paths)} leftovers, {size(count)}")


@results.command("remove")
@click.argument("keys", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Empty the store: verdicts and leftovers too.")
@click.option(
    "--older-than", type=float, metavar="DAYS", callback=_days, help="Remove those made longer ago than this."
)
@click.option("--yes", is_flag=True, help="Do not ask.")
def results_remove(keys: tuple[str, ...], everything: bool, older_than: float | None, yes: bool) -> None:
    """Remove stored experiments by key (its beginning will do), by age, or all that the store holds.

    \b
    lintrans results remove 3f2a9c
    lintrans results remove --older-than 30
    """
    from ..store.store import store

    if sum([bool(keys), everything, older_than is not None]) != 1:
        raise BookError("say what to remove: keys, or --all, or --older-than DAYS")
    if older_than is not None and not (math.isfinite(older_than) and 0 <= older_than <= MOST_DAYS):
        raise BookError(f"--older-than {older_than} is not allowed: give a number of days from 0 to {MOST_DAYS:,}")
    kept = store()
    entries = kept.entries()
    chosen = _chosen(entries, keys) if keys else entries
    if older_than is not None:
        limit = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=older_than)
        chosen = [entry for entry in entries if entry.created < limit]
    total = size(kept.size() if everything else sum(entry.bytes for entry in chosen))
    if not chosen and not (everything and kept.folders()):
        click.echo("nothing to remove")
        return
    words = "all verdicts and " if everything else ""
    if not yes:
        what = f"{words}{len(chosen)} of {len(entries)} experiments ({total})"
        click.confirm(f"remove {what} from {kept.path}?", abort=True)
    try:
        if everything:
            kept.clear()
        for entry in () if everything else chosen:
            kept.remove(entry.key)
    except OSError as error:
        raise BookError(f"{error.filename} cannot be removed: {brief(error)}") from None
    click.echo(f"removed {words}{len(chosen)} experiments, {total}")


@main.command("verdicts")
@click.option(
    "--scale",
    callback=_scale_name,
    metavar=scale_form,
    help=f"Only this scale; both by default. {OTHERS[:1].upper()}{OTHERS[1:]}.",
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


def _finite(_: click.Context, __: click.Parameter, value: float) -> float:
    """A number; ranges of options let NaN pass, and nothing compares with it."""
    if math.isnan(value):
        raise click.BadParameter("nan is no number of minutes: give one of at least 0")
    return value


keep_option = click.option(
    "--keep", type=click.Path(dir_okay=False, path_type=Path), callback=_writable,
    help="Write what was found, as JSON, to a file.",
)  # fmt: skip


@main.command("stability")
@click.argument("names", nargs=-1, metavar="[CHAPTER]...")
@scale_option
@click.option(
    "--offset", type=click.IntRange(OFFSETS[0], OFFSETS[-1]), default=100, show_default=True, help=offset_help
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
    """
    from ..paper.claims.stability import keep as write
    from .book import find_root
    from .repeating import repeated

    tell = partial(click.echo, err=True) if as_json else _tell
    report, made = repeated(find_root(), scale, offset, names, tell, jobs)
    click.echo(made.json() if as_json else "\n".join(repeat_lines(made, width())))
    if keep is not None and report.failed:
        click.echo(f"lintrans: {keep} is not written, since a chapter failed: mend it and call again", err=True)
    elif keep is not None:
        write(made, keep)
    _exit_if_failed(report)


@main.command("twice")
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


@main.command("doctor")
def doctor_command() -> None:
    """Show versions, the device that "auto" takes, the store, and which tools are here."""
    from .doctor import findings

    for name, value in findings():
        click.echo(wrapped(f"{name:16} {value}", 17))


def _tell(line: str) -> None:
    """Print a line, where a chapter's progress bar may be moving; work goes on when nobody reads it any more."""
    try:
        click.echo(f"{wiped(sys.stdout)}{line}")
    except (OSError, ValueError):
        _stand_in_for("stdout")


def _stand_in_for(name: str) -> None:
    """Let a stream that is gone, or was never there, take what is written and forget it."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), getattr(sys, name).fileno())
        return
    setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - stays open as long as the process


def _chosen(entries: list[Any], keys: tuple[str, ...]) -> list[Any]:
    chosen = []
    for key in keys:
        matches = [entry for entry in entries if entry.key.startswith(key)]
        if len(matches) != 1:
            what = "no stored experiment has" if not matches else f"{len(matches)} stored experiments have"
            raise BookError(f"{what} the key {key!r}: see lintrans results list")
        chosen += [entry for entry in matches if entry not in chosen]
    return chosen


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


def _entry(entry: Any) -> dict[str, Any]:
    created = entry.created.isoformat()
    fields = {name: getattr(entry, name) for name in ("key", "title", "device", "seconds", "bytes")}
    return {**fields, "created": created}


def _records(frame: Any) -> list[dict[str, Any]]:
    """The frame's rows, with null for what is missing or not finite."""
    return [{str(name): plain(value) for name, value in row.items()} for row in frame.to_dict("records")]


def _exit_if_failed(report: Any) -> None:
    if report.failed:
        click.echo("", err=True)
    for outcome in report.failed:
        click.echo(f"lintrans: {outcome.chapter.name} failed in {outcome.cell}: {outcome.error}", err=True)
    if report.failed:
        sys.exit(1)


def _relative(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
