"""``lintrans results``: what is stored, what made it, whether it is what was stored, and what may go."""

from __future__ import annotations

import datetime
import json
import math
import sys
from typing import Any

import click

from ..errors import brief
from .chapters import BookError
from .commands import Suggesting
from .listing import size, wrapped

MOST_DAYS = 36_500


@click.group(cls=Suggesting)
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


def _chosen(entries: list[Any], keys: tuple[str, ...]) -> list[Any]:
    chosen = []
    for key in keys:
        matches = [entry for entry in entries if entry.key.startswith(key)]
        if len(matches) != 1:
            what = "no stored experiment has" if not matches else f"{len(matches)} stored experiments have"
            raise BookError(f"{what} the key {key!r}: see lintrans results list")
        chosen += [entry for entry in matches if entry not in chosen]
    return chosen


def _entry(entry: Any) -> dict[str, Any]:
    created = entry.created.isoformat()
    fields = {name: getattr(entry, name) for name in ("key", "title", "device", "seconds", "bytes")}
    return {**fields, "created": created}
