"""What the commands share: a group that says errors in one line, options, and how lines reach a person."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from pathlib import Path
from typing import Any

import click

from ..errors import nearest
from ..paper.scale_names import OTHERS, SCALE_NAMES, based_on
from ..progress import wiped
from .chapter_parameters import ParameterError
from .chapters import BookError
from .notebooks import PairError

INTERRUPTED = 130
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
            remedy = ": make room, or write elsewhere, and call again" if error.errno in FULL_OR_FORBIDDEN else ""
            click.echo(f"lintrans: {error.strerror or error}{where}{remedy}", err=True)
            ctx.exit(2)
        except KeyboardInterrupt:
            click.echo(f"\n{STOPPED}", err=True)
            ctx.exit(INTERRUPTED)


def scale_name(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """A scale, or one with other judging seeds and batches."""
    try:
        based_on(value) if value is not None else None
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    return value


def scheduler(ctx: click.Context, param: click.Parameter, address: str | None) -> str | None:
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


def writable(_: click.Context, __: click.Parameter, path: Path | None) -> Path | None:
    """A file to write when all is computed, refused before anything is where it could not be written then."""
    if path is None:
        return None
    nearest_folder = next(folder for folder in path.absolute().parents if folder.exists())
    target = path if path.exists() else nearest_folder
    if not os.access(nearest_folder, os.W_OK) or not os.access(target, os.W_OK) or not nearest_folder.is_dir():
        raise click.BadParameter(f"{path} cannot be written: name a file in a folder of yours")
    return path


scale_form = f"[{'|'.join(SCALE_NAMES)}][+OFFSET]"
scale_help = "As in the paper, or the same code in a few minutes."
scale_option = click.option(
    "--scale", type=click.Choice(SCALE_NAMES), default="paper", show_default=True, help=scale_help
)
any_scale_help = f"{scale_help[:-1]}; {OTHERS}, whose pages are never built."
any_scale_option = click.option(
    "--scale", callback=scale_name, metavar=scale_form, default="paper", show_default=True, help=any_scale_help
)
one_scale_help = f"Only this scale; both by default. {OTHERS[:1].upper()}{OTHERS[1:]}."

dask_option = click.option(
    "--dask", "address", metavar="ADDRESS", callback=scheduler,
    help="Compute trainings on the workers of this Dask scheduler, as tcp://host:8786.",
)  # fmt: skip
jobs_help = "Chapters at a time. [default: two, where there are two processors]"
jobs_option = click.option("--jobs", "-j", type=click.IntRange(min=1), default=None, help=jobs_help)


keep_option = click.option(
    "--keep", type=click.Path(dir_okay=False, path_type=Path), callback=writable,
    help="Write what was found, as JSON, to a file.",
)  # fmt: skip


def tell(line: str) -> None:
    """Print a line, where a chapter's progress bar may be moving; work goes on when nobody reads it any more."""
    try:
        click.echo(f"{wiped(sys.stdout)}{line}")
    except (OSError, ValueError):
        stand_in_for("stdout")


def stand_in_for(name: str) -> None:
    """Let a stream that is gone, or was never there, take what is written and forget it."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), getattr(sys, name).fileno())
        return
    setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - stays open as long as the process


def exit_if_failed(report: Any) -> None:
    """Name the chapters that failed, with cell and error, and exit with 1 where there are any."""
    if report.failed:
        click.echo("", err=True)
    for outcome in report.failed:
        click.echo(f"lintrans: {outcome.chapter.name} failed in {outcome.cell}: {outcome.error}", err=True)
    if report.failed:
        sys.exit(1)
