"""Real commands killed at random instants, again and again until they end by themselves; what that cost.

One and the same work is killed and started again, in one store, so that many kills cost one completion and the starts.
Instants are random within a stage of the work, which a command's own words and files tell, and are counted in seconds
of computing: so they fall where they shall, however busy the machine is.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lintrans.paper.claims.records import verdict_frame
from lintrans.store.results import VARIABLE
from lintrans.store.store import Store

ROOT = Path(__file__).resolve().parents[1]
COPIED = ("book", "pyproject.toml", "_config.yml", "_toc.yml", "requirements.lock", "CITATION.cff")
PATIENCE = 3.0
"""Seconds that children of a killed process have to end."""
LIMIT = 7200.0
"""Seconds after which a command that nobody kills is one that hangs."""
STARTING, EXECUTING, WRITING, PAGES = "starting", "executing", "writing", "building pages"
REACHED = {EXECUTING: "\n", PAGES: "building the pages\n"}
"""What a command has said once it is in a stage: its first line, or this one."""
USUAL, BUILDING = (EXECUTING, WRITING, EXECUTING, STARTING), (PAGES, EXECUTING, WRITING, STARTING)
SHORTEST = 1.5
"""Seconds of computing between two kills at least, on average: in fewer nothing would be kept."""
MOST_BEGUN = 3
"""Files that are begun before one of them is cut off, at most."""


@dataclass
class Row:
    """What came of one kind of fault."""

    kind: str
    faults: int = 0
    noticed: int = 0
    lost: list[float] = field(default_factory=list)
    wrong: int = 0
    left: int = 0

    @property
    def text(self) -> tuple[str, ...]:
        lost = f"{sum(self.lost) / len(self.lost):.1f} (most {max(self.lost):.1f})" if self.lost else "-"
        return self.kind, str(self.faults), str(self.noticed), lost, str(self.wrong), str(self.left)


@dataclass(frozen=True)
class Aim:
    """A random instant: so many seconds of computing, or files begun, after a stage is reached."""

    stage: str
    after: float

    def due(self, reached: dict[str, float], seconds: float, begun: int) -> bool:
        """Whether it has come, after so many seconds and files; `reached` as in :class:`Ran`."""
        if self.stage == WRITING:
            return begun >= self.after
        return self.stage in reached and seconds >= reached[self.stage] + self.after


@dataclass(frozen=True)
class Ran:
    """One run of a command.

    Attributes:
        killed: whether it was; else it came to its end.
        seconds: that all of its processes have computed.
        reached: how many of them had passed when it came to a stage.
        stage: the one that it ended in.
        words: what it has said, also in its chapters.
    """

    killed: bool
    seconds: float
    reached: dict[str, float]
    stage: str
    words: str


@dataclass(frozen=True)
class Job:
    """A command that fills a store; one of the book's is run in a copy of the book, one for each store.

    Attributes:
        chapters: of that copy, none for all.
        stages: where it is killed, by turns.
    """

    kind: str
    command: Sequence[str]
    book: bool = False
    chapters: Sequence[str] = ()
    stages: Sequence[str] = USUAL

    def folder(self, store: Path) -> Path:
        return store.with_name(f"{store.name}-book") if self.book else store.parent

    def scratch(self, store: Path) -> Path:
        """Where its temporary files go."""
        return store.with_name(f"{store.name}-scratch")

    def log(self, store: Path) -> Path:
        return store.with_name(f"{store.name}.log")

    def start(self, store: Path) -> subprocess.Popen[bytes]:
        folder, scratch = self.folder(store), self.scratch(store)
        if self.book and not folder.exists():
            copy_book(folder, self.chapters)
        scratch.mkdir(exist_ok=True)
        environment = {
            **os.environ, VARIABLE: str(store), "PYTHONPATH": str(ROOT), "OMP_WAIT_POLICY": "PASSIVE",
            "TMPDIR": str(scratch),
        }  # fmt: skip
        with self.log(store).open("ab") as log:
            return subprocess.Popen(
                self.command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
            )

    def run(self, store: Path, aim: Aim | None = None) -> Ran:
        """Run it to its end, or until it has come to an instant, and kill it there.

        Raises:
            RuntimeError: it failed, or hangs.
        """
        log = self.log(store)
        log.touch()
        said, began, before = log.stat().st_size, time.time(), os.times()
        old, reached, seconds, begun = self.parts(store), {STARTING: 0.0}, 0.0, set[Path]()
        process = self.start(store)
        try:
            measured = 0.0
            while process.poll() is None and time.time() < began + LIMIT:
                hunting = aim is not None and aim.stage == WRITING and EXECUTING in reached
                if time.monotonic() > measured + (0.1 if hunting else 0.02):  # looking takes some milliseconds
                    seconds = computed(alive(store))
                    words = log.read_bytes()[said:].decode(errors="replace")
                    new = {stage for stage, word in REACHED.items() if word in words} - reached.keys()
                    reached |= dict.fromkeys(new, seconds)
                    measured = time.monotonic()
                if hunting:
                    begun |= self.parts(store) - old
                if aim is not None and aim.due(reached, seconds, len(begun)):
                    break
                time.sleep(0.001 if hunting else 0.02)
        finally:
            process.kill()
            status = process.wait()
        words = log.read_bytes()[said:].decode(errors="replace")
        hangs = time.time() >= began + LIMIT
        if hangs or status not in (0, -signal.SIGKILL):
            why = f"still running after {LIMIT:.0f} s" if hangs else status
            raise RuntimeError(f"{self.kind} failed ({why}):\n{words[-3000:]}")
        if status == 0:
            after = os.times()
            seconds = after.children_user + after.children_system - before.children_user - before.children_system
        stage = PAGES if REACHED[PAGES] in words else EXECUTING if "\n" in words else STARTING
        pages = [file for file in (self.folder(store) / "build").rglob("*.ipynb") if file.stat().st_mtime >= began]
        words = "\n".join([words, *(file.read_text(errors="replace") for file in pages if self.book)])
        return Ran(status != 0, seconds, reached, WRITING if self.parts(store) - old else stage, words)

    def parts(self, store: Path) -> set[Path]:
        """What is being written, or was when its writer was killed."""
        build = self.folder(store) / "build" / "quick"
        folders = [store / "experiments", *(store / "unfinished").glob("*"), store / "verdicts" / "quick"]
        folders += [build / "digests", build / "src", build / "src" / "book"] if self.book else []
        found = set()
        for folder in folders:
            with contextlib.suppress(OSError), os.scandir(folder) as files:
                found |= {Path(file.path) for file in files if ".part" in file.name}
        return found

    def left(self, store: Path) -> list[Path]:
        """Files that are there only while it works."""
        build, stored = self.folder(store) / "build", Store(store)
        found = [*store.rglob(".*.part"), *stored.half_written(), *(orphan.path for orphan in stored.unfinished())]
        found += [*build.glob("*/running/*"), *build.glob("*/building"), *build.rglob("*.part")]
        return [*found, *self.scratch(store).iterdir()]


def numbers(store: Path) -> dict[str, object]:
    """What each stored result's files are, by key, and the verdicts as text."""
    results: dict[str, object] = {entry.key: entry.record["files"] for entry in Store(store).entries()}
    verdicts = verdict_frame("quick", Store(store))
    return {**results, "verdicts": verdicts.to_csv()}


def alive(store: Path) -> list[int]:
    """Processes that work on a store, by its path in their environment."""
    mark, found = f"{VARIABLE}={store}".encode(), []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return found


def computed(pids: Sequence[int]) -> float:
    """Seconds that processors have worked for these processes, and for their children that have ended."""
    ticks = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            ticks += sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def stored(store: Path) -> dict[str, int]:
    """When each result was written, by key."""
    return {entry.key: (entry.path / "record.json").stat().st_mtime_ns for entry in Store(store).entries()}


def end(store: Path) -> int:
    """Wait for the processes of a store to end, kill those that do not; how many these were."""
    deadline = time.monotonic() + PATIENCE
    while alive(store) and time.monotonic() < deadline:
        time.sleep(0.1)
    left = alive(store)
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    while alive(store) and time.monotonic() < deadline + 60:
        time.sleep(0.05)
    return len(left)


def copy_book(place: Path, chapters: Sequence[str] = ()) -> None:
    """Copy the book; of these chapters alone, whose links to others then lead nowhere."""
    place.mkdir(parents=True)
    for name in COPIED:
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, place / name)
    if chapters:
        first, *others = (f"book/{name}" for name in (*chapters, "references"))
        lines = ["format: jb-book", f"root: {first}", "chapters:", *(f"  - file: {name}" for name in others)]
        (place / "_toc.yml").write_text("\n".join(lines) + "\n")
        settings = place / "_config.yml"
        missing = "suppress_warnings: [myst.xref_missing, ref.doc, ref.ref, ref.numref, ref.term, "
        settings.write_text(settings.read_text().replace("suppress_warnings: [", missing))


def kill(job: Job, count: int, longest: int, chance: random.Random, place: Path) -> Row:
    """Kill a job so many times, at most `longest` times on its way to one end, and compare each end with the usual."""
    row = Row(f"{job.kind} killed")
    whole = place / "whole"
    usual = job.run(whole)
    right = numbers(whole)
    if "compiling " in usual.words:  # which later ones do not
        usual = job.run(place / "usual")
    if missing := {*job.stages} - {WRITING, *usual.reached}:
        raise RuntimeError(f"{job.kind} never says that it is {' or '.join(sorted(missing))}")
    row.left += end(whole) + end(place / "usual")
    shares = ", ".join(f"{seconds:.1f} s to {stage}" for stage, seconds in list(usual.reached.items())[1:])
    print(f"{job.kind}: {usual.seconds:.1f} s computed, {shares}", flush=True)
    seen, completions = Counter[str](), 0
    while row.faults < count:
        ahead = aims(job, min(longest, count - row.faults), usual, chance)
        completions += 1
        if completions > count:
            raise RuntimeError(f"{job.kind} ends before it can be killed")
        seen += chain(job, ahead, right, usual, place / f"store-{completions}", row)
    where = ", ".join(f"{seen[stage]} {stage}" for stage in (STARTING, EXECUTING, WRITING, PAGES) if seen[stage])
    found = f"{row.wrong} wrong numbers, {row.left} left behind"
    print(f"{job.kind}: killed {where}; {completions} times to its end; {found}", flush=True)
    return row


def aims(job: Job, count: int, usual: Ran, chance: random.Random) -> list[Aim]:
    """So many random instants on the way to one end, through all stages."""
    stages = [job.stages[number % len(job.stages)] for number in range(count)]
    chance.shuffle(stages)
    stages.sort(key=PAGES.__eq__)  # the chapters come first
    first, pages = usual.reached[EXECUTING], usual.reached.get(PAGES, usual.seconds)
    between = max(SHORTEST, (pages - first) / (1 + stages.count(EXECUTING) + stages.count(WRITING)))
    lengths = {STARTING: first, EXECUTING: 2 * between, PAGES: usual.seconds - pages}
    return [
        Aim(stage, chance.randint(1, MOST_BEGUN) if stage == WRITING else chance.uniform(0, lengths[stage]))
        for stage in stages
    ]


def chain(job: Job, ahead: list[Aim], right: dict[str, object], usual: Ran, store: Path, row: Row) -> Counter[str]:
    """Kill a job at one instant after the other until it ends, and compare; how often it was in each stage."""
    kept: dict[str, int] = {}
    begun: set[str] = set()
    seen, spent = Counter[str](), 0.0
    while True:
        ran = job.run(store, ahead[0] if ahead else None)
        row.left += end(store)
        now = stored(store)
        orphans = {orphan.key for orphan in Store(store).unfinished() if any(orphan.parts())} - now.keys()
        if seen:  # what the kill before it left was used: nothing written anew, nothing begun anew
            unheard = orphans if not (ran.killed and job.book) else begun  # a killed chapter's words may be lost
            gone_on = all(key in unheard or f"going on with {key[:8]}" in ran.words for key in begun)
            row.noticed += gone_on and all(now.get(key) == written for key, written in kept.items())
        if not ran.killed:
            break
        ahead.pop(next((place for place, aim in enumerate(ahead) if aim.stage == ran.stage), 0))  # where it has hit
        row.faults += 1
        seen[ran.stage] += 1
        spent += max(0.0, ran.seconds - usual.reached[EXECUTING])  # to start is no loss
        kept, begun = now, orphans
        print(f"  killed {ran.stage} after {ran.seconds:.1f} s; {len(kept)} results, {len(begun)} begun", flush=True)
    found = numbers(store)
    row.wrong += sum(found.get(key) != files for key, files in right.items())
    left = job.left(store)
    row.left += len(left)
    if seen:
        row.lost.append(max(0.0, spent + ran.seconds - usual.seconds) / seen.total())
        print(f"  ended; lost {row.lost[-1]:.1f} s a kill", *(f"\n  left: {path}" for path in left), flush=True)
    for folder in (store, job.scratch(store), *([job.folder(store)] if job.book else [])):
        shutil.rmtree(folder)
    return seen
