"""The command line: what it prints, and errors in one line that name the value and what is allowed."""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner, Result

import lintrans as lt
from lintrans.paper.claims import Ruling, State, Unit, Verdict, Word, record, stability, twice, verdict_records
from lintrans.publish import cli, cli_results, listing, repeating
from lintrans.publish.book import Built, Outcome, Report, chapters
from lintrans.statistics import Interval


def call(*arguments: str, answer: str | None = None) -> Result:
    return CliRunner().invoke(cli.main, list(arguments), input=answer)


@pytest.fixture
def here(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tiny)
    return tiny


class Store:
    """A store of three experiments, the oldest 100 days old."""

    def __init__(self) -> None:
        now = datetime.datetime.now(datetime.UTC)
        self.path = Path("/somewhere/results")
        self.items = [
            SimpleNamespace(key=key, title=f"run {key}", created=now - age, device="cpu", seconds=1.5, bytes=2000)
            for key, age in zip(("abc1", "abd2", "fff3"), map(datetime.timedelta, (1, 40, 100)), strict=True)
        ]

    def entries(self) -> list[Any]:
        return list(self.items)

    def remove(self, key: str) -> None:
        self.items = [item for item in self.items if item.key != key]

    def unfinished(self) -> list[Any]:
        return []

    def forbidden(self) -> list[Path]:
        return []

    def folders(self) -> list[Path]:
        return [self.path] if self.items else []

    def clear(self) -> None:
        self.items = []

    def size(self) -> int:
        return sum(item.bytes for item in self.items)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    filled = Store()
    monkeypatch.setattr("lintrans.store.store.store", lambda: filled)
    return filled


COMMANDS = [
    [],
    *([name] for name in cli.main.commands),
    *(["results", name] for name in cli_results.results.commands),
]


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_every_command_explains_itself(arguments: list[str]) -> None:
    result = call(*arguments, "--help")
    assert result.exit_code == 0
    assert "Usage:" in result.output
    assert max(map(len, result.output.splitlines())) <= 88


def test_version() -> None:
    assert lt.__version__ in call("--version").output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["exectue"], "no command 'exectue': .*did you mean 'execute'"),
        (
            ["results", "lst"],
            "no command 'lst': there are list, prune, .*, verify.*did you mean 'list'",
        ),
        (["execute", "frist"], r"no chapter 'frist': there are first, second, intro \(did you mean 'first'\?\)"),
        (["execute", "first", "-p", "lrr", "1"], "lrr = 1 is no parameter of first: there are scale, .*mean 'lr'"),
        (["execute", "first", "-p", "lr", "fast"], r"lr = 'fast' \(str\) is not allowed: give a finite number"),
        (["execute", "first", "-p", "lr", "nan"], "lr = nan"),
        (["execute", "first", "-p", "seeds", "2.5"], r"seeds = 2.5 \(float\) is not allowed: give a whole number"),
        (["execute", "first", "-p", "seeds", "-2"], "seeds = -2 is not allowed"),
        (["execute", "first", "-p", "scale", "quik"], "scale = 'quik' is not one of .*did you mean 'quick'"),
        (["execute", "first", "--scale", "tiny"], "'tiny' is not one of 'paper', 'quick'"),
        (["execute", "first", "--scale", "quick+7"], r"'quick\+7' is not allowed: after the \+ comes a whole number"),
        (["build", "--scale", "quick+100"], "'quick\\+100' is not one of 'paper', 'quick'"),
        (["stability", "frist"], "'frist' judges nothing: there are adam_vs_sgd"),
        (["stability", "adam_vs_sgd", "--scale", "quick"], "nothing to compare with: lintrans execute adam_vs_sgd"),
        (["stability", "--offset", "7"], "7 is not in the range"),
        (["twice", "--claim", "C99"], "there is no claim 'C99': there are C1"),
        (["twice", "--minutes", "-1"], "-1.0 is not in the range"),
        (["execute", "-p", "lr", "1"], "-p needs a chapter"),
        (["execute", "first", "-p", "device", "gpu"], "device = 'gpu' is not one of"),
        (["pairs", "--take", "text"], "--take needs a chapter"),
        (["pairs", "thrid"], "there is no chapter 'thrid'"),
        (["results", "remove"], "say what to remove"),
        (["results", "remove", "zzz"], "no stored experiment has the key 'zzz'"),
        (["results", "remove", "ab"], "2 stored experiments have the key 'ab'"),
        (["results", "remove", "--older-than", "nan"], "--older-than nan is not allowed"),
    ],
)
def test_errors_are_one_line(here: Path, store: Store, arguments: list[str], message: str) -> None:
    import re

    result = call(*arguments)
    assert result.exit_code == 2
    line = result.output.strip().splitlines()[-1]
    assert re.search(message, line), result.output
    assert "Traceback" not in result.output


def test_a_gpu_that_is_not_here_is_refused_before_anything_runs(here: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    result = call("execute", "first", "-p", "device", "cuda")
    assert result.exit_code == 2
    assert "device = 'cuda' is not available here" in result.output
    assert "use device='auto' or 'cpu'" in result.output
    assert not (here / "build").exists()


def test_outside_a_checkout_the_book_is_missed_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lintrans.publish.chapters.__file__", str(tmp_path / "x" / "y" / "z.py"))
    monkeypatch.chdir(tmp_path)
    for command in ("chapters", "build", "execute", "pairs"):
        result = call(command)
        assert result.exit_code == 2
        assert "no book here" in result.output


def test_chapters(here: Path) -> None:
    output = call("chapters").output
    assert "first: The first\n" in output
    assert "    lr: float = 0.1  learning rate\n" in output
    listed = json.loads(call("chapters", "--json").output)
    assert [item["name"] for item in listed] == ["first", "second", "intro"]
    assert listed[0]["parameters"][3] == {"name": "lr", "kind": "float", "default": 0.1, "comment": "learning rate"}


def test_pairs(here: Path) -> None:
    assert (call("pairs").output, call("pairs", "--check").exit_code) == ("", 0)
    path = here / "book" / "first.md"
    path.write_text(path.read_text().replace("A sentence.", "Edited."))
    checked = call("pairs", "--check")
    assert checked.exit_code == 1
    assert "first: only the text differs" in checked.output
    assert "Edited." not in (here / "book" / "first.ipynb").read_text()
    assert "first: rewrote book/first.ipynb" in call("pairs").output
    assert call("pairs", "--check").exit_code == 0
    path = here / "book" / "first.ipynb"
    notebook = json.loads(path.read_text())
    notebook["cells"][0]["metadata"]["scrolled"] = True
    path.write_text(json.dumps(notebook))
    checked = call("pairs", "--check")
    assert checked.exit_code == 0
    assert "first: same inputs; metadata of an editor to tidy" in checked.output


def test_build_settles_pairs_first_if_asked(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def built(root: Path, scale: str, **options: Any) -> Built:
        assert (scale, options["run"]) == ("quick", True)
        assert "Edited." in (root / "book" / "first.ipynb").read_text()
        return Built(root / "index.html", Report())

    monkeypatch.setattr("lintrans.publish.book.build", built)
    path = here / "book" / "first.md"
    path.write_text(path.read_text().replace("A sentence.", "Edited."))
    result = call("build", "--pairs", "--scale", "quick")
    assert (result.exit_code, "first: rewrote book/first.ipynb" in result.output) == (0, True)
    path.write_text(path.read_text().replace("Edited.", "Edited again."))
    other = here / "book" / "first.ipynb"
    other.write_text(other.read_text().replace("Edited.", "Edited otherwise."))
    result = call("build", "--pairs", "--scale", "quick")
    assert result.exit_code == 1
    assert "lintrans pairs --take text first" in result.output
    assert "built in" not in result.output


def test_pairs_in_conflict_exit_with_one_and_go_on_with_the_others(here: Path) -> None:
    for name, halves in (("first", ("md", "ipynb")), ("second", ("md",))):
        for number, half in enumerate(halves):
            path = here / "book" / f"{name}.{half}"
            path.write_text(path.read_text().replace("A sentence.", f"Edit {number}."))
    result = call("pairs")
    assert result.exit_code == 1
    assert "lintrans pairs --take text first" in result.output
    assert "Edit 0." in (here / "book" / "second.ipynb").read_text()
    assert call("pairs", "--take", "notebook", "first").exit_code == 0
    assert "Edit 1." in (here / "book" / "first.md").read_text()


@pytest.mark.parametrize("half", ["md", "ipynb"])
def test_a_chapter_in_another_encoding_stops_no_other(here: Path, half: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lintrans.publish.chapters.execute_one", lambda chapter, target, *_: Outcome(chapter, target))
    path = here / "book" / f"first.{half}"
    path.write_bytes(path.read_text().encode("utf-16"))
    second = here / "book" / "second.md"
    second.write_text(second.read_text().replace("A sentence.", "Edited."))
    line = f"book/first.{half} is not in UTF-8 (byte 0 is 0xff): save it as UTF-8, or take it from git again"
    settled = call("pairs")
    assert (settled.exit_code, line in settled.output) == (1, True)
    assert "Edited." in second.with_suffix(".ipynb").read_text()
    listed = call("chapters")
    assert (listed.exit_code, line in listed.output, "second: " in listed.output) == (0, True, True)
    executed = call("execute", "--jobs", "1")
    assert (executed.exit_code, f"first failed in its files: {line}" in executed.output) == (1, True)
    assert "second: done" in executed.output
    assert call("execute", "--jobs", "1", "second").exit_code == 0


def test_a_failed_chapter_ends_with_its_name_and_cell(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = Outcome(chapters(here)[0], None, "ValueError: no", "cell 3 ('x')")
    monkeypatch.setattr("lintrans.publish.book.execute", lambda *arguments, **more: Report([bad]))
    result = call("execute", "first")
    assert result.exit_code == 1
    assert "lintrans: first failed in cell 3 ('x'): ValueError: no" in result.output


def test_an_interrupt_exits_with_130(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*arguments: Any, **more: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lintrans.publish.book.execute", stop)
    result = call("execute")
    assert result.exit_code == 130
    assert "stopped; what was finished stays" in result.output


def test_results(store: Store) -> None:
    assert "run abc1" in call("results", "list").output
    assert {item["key"] for item in json.loads(call("results", "list", "--json").output)} == {"abc1", "abd2", "fff3"}
    assert "3 experiments, 6.0 kB" in call("results", "size").output
    kept = call("results", "remove", "abc", answer="n\n")
    assert kept.exit_code == 1
    assert len(store.items) == 3
    assert "removed 1 experiments" in call("results", "remove", "abc1", answer="y\n").output
    assert call("results", "remove", "--older-than", "50", "--yes").exit_code == 0
    assert [item.key for item in store.items] == ["abd2"]
    call("results", "remove", "--all", "--yes")
    assert "nothing to remove" in call("results", "remove", "--all").output
    assert "nothing is stored" in call("results", "list").output


def test_all_results_are_those_set_aside_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LINTRANS_STORE", str(tmp_path))
    kept = tmp_path / "experiments"
    (kept / ".damaged-0123").mkdir(parents=True)
    assert call("results", "remove", "--older-than", "0").exit_code == 0
    assert [*kept.iterdir()]
    assert "nothing to remove" not in call("results", "remove", "--all", "--yes").output
    assert not kept.exists()


def test_results_are_compared_checked_and_pruned(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LINTRANS_STORE", str(tmp_path))
    runs = lt.grid(optimizer="sgd", lr=0.1)
    model, task = lt.LinearTransformer(1, 2), lt.LinearRegression(2, 3)
    one, other = (
        lt.experiment(model, task, runs, steps=steps, batch=5, probes=[], engine="reference", title="t").key
        for steps in (2, 3)
    )
    assert "spec.task.covariates.std: 1.0" in call("results", "show", one).output
    lines = call("results", "show", one, other).output.splitlines()
    assert "spec.steps: 2  |  3" in lines
    assert not [line for line in lines if line.startswith(("versions", "machine", "spec.task"))]
    assert "are too many" in call("results", "show", one, other, one).output
    assert "2 experiments are what was stored" in call("results", "verify").output
    (tmp_path / "experiments" / other / "frame.parquet").write_bytes(b"other")
    verified = call("results", "verify")
    assert verified.exit_code == 1
    assert f"{other}: frame.parquet was changed" in verified.output
    assert call("results", "repair").exit_code == 0
    assert call("results", "verify").exit_code == 0
    (tmp_path / "experiments" / f".part-{one}-0").mkdir()
    (tmp_path / "unfinished" / one).mkdir(parents=True)
    assert f"{one[:12]}  unfinished, at its beginning" in call("results", "list").output
    assert "removed 0 leftovers" in call("results", "prune").output
    assert "removed 3 leftovers" in call("results", "prune", "--older-than", "0").output
    assert one in {path.name for path in (tmp_path / "experiments").iterdir()}
    assert call("results", "remove", "--older-than", "800000").exit_code == 2


def test_verdicts_as_json_are_finite_or_null(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = ["claim", "reading", "scale", "case", "statistic"]
    columns += ["estimate", "low", "high", "state", "verdict", "chapter"]
    row = ["C1", "tuned", "quick", "all", "ratio", float("inf"), float("nan"), 2.0, "agrees", "partly", "adam_vs_sgd"]
    asked = []

    def frame(scale: str | None) -> pd.DataFrame:
        asked.append(scale)
        return pd.DataFrame([row], columns=columns)

    monkeypatch.setattr("lintrans.paper.claims.verdict_frame", frame)
    record = json.loads(call("verdicts", "--json", "--scale", "quick").output)[0]
    assert asked == ["quick"]
    assert list(record) == columns
    assert (record["estimate"], record["low"], record["high"]) == (None, None, 2.0)
    monkeypatch.setattr("lintrans.paper.claims.verdict_frame", lambda scale: pd.DataFrame(columns=columns))
    assert json.loads(call("verdicts", "--json").output) == []


def test_doctor() -> None:
    result = call("doctor")
    assert result.exit_code == 0
    for word in ("lintrans", "python", "torch", "device", "engine", "store", "book tools", "chromium"):
        assert word in result.output


def test_the_console_script_is_installed() -> None:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(["lintrans", "--help"], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0
    assert "execute" in done.stdout


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Verdicts on C3, with long names and many cases, on C10 and on C11, at one scale."""
    monkeypatch.setenv("LINTRANS_STORE", str(tmp_path))
    long = "setting 1, a case whose name is much longer than any line of a terminal, step {k}"
    for claim, count in (("C10", 2), ("C3", 6), ("C11", 1)):
        units = [
            Unit(long.format(k=k), "ratio", Interval(2.0 + k, 1.5, 12.25, 0.001, 6), State.YES) for k in range(count)
        ]
        units += [Unit("beside", "ratio", None, State.MISSING, decides=False)]
        record(Verdict(claim, "published", "paper", "x", tuple(units), Ruling(Word.PARTLY, ("one",))))


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("more", [(), ("--cases",)])
def test_verdicts_fit_the_terminal(
    judged: None, monkeypatch: pytest.MonkeyPatch, columns: int, more: tuple[str, ...]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = call("verdicts", *more).output.splitlines()
    assert max(map(len, lines)) <= columns
    if more:
        assert sum("12.2]" in line for line in lines) == 9
        assert len({line for line in lines if "12.2]" in line}) == 6, "the step is still told"
        assert sum("(not measured)" in line for line in lines) == 3
    else:
        assert [line.split()[0] for line in lines if line.startswith("C")] == ["C3", "C10", "C11"]
        [c3, c10, c11] = [line for line in lines if line.startswith("C")]
        assert "2 [1.5, 12.2]" in c11
        assert "2 [1.5, 12.2]; 3 [1.5, 12.2]" in c10
        assert "2; 3; 4; 5; 6; 7" in c3
        assert c3.endswith("holds in 6 of 6")


def test_many_estimates_give_way_to_their_range() -> None:
    rows = [{"estimate": estimate, "low": None, "high": 1.0} for estimate in (3.0, 0.51, None, 12.0)]
    assert listing.effects(rows, 11) == "3; 0.51; 12"
    assert listing.effects(rows, 10) == "0.51 to 12"
    assert listing.effects(rows[2:3], 10) == "no number"


def test_claims_of_every_kind_are_in_order() -> None:
    records: dict[Any, Any] = {(claim, "tuned"): claim for claim in ("P2", "F11", "C10", "F2", "C9", "P1")}
    assert [claim for claim, _ in listing.chosen(records, [])] == ["C9", "C10", "F2", "F11", "P1", "P2"]
    assert [*listing.chosen(records, ["F2"])] == [("F2", "tuned")]


def test_verdicts_of_some_claims(judged: None) -> None:
    output = call("verdicts", "--claim", "c3", "--claim", "C11").output
    assert "C3 " in output
    assert "C10" not in output
    assert {row["claim"] for row in json.loads(call("verdicts", "--claim", "C10", "--json").output)} == {"C10"}
    assert "no verdicts yet" in call("verdicts", "--scale", "quick").output
    result = call("verdicts", "--claim", "C99")
    assert result.exit_code == 2
    assert "no claim 'C99'" in result.output
    assert "C17" in result.output


def test_lines_for_people_are_wrapped_in_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    line = "    name: str = 'x'  " + "words that say what it is " * 6
    assert listing.wrapped(line, 8) == line
    assert listing.wrapped("a title\x1b[2J of\nelsewhere, d’ailleurs", 8) == r"a title\x1b[2J of\nelsewhere, d’ailleurs"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    first, *rest = listing.wrapped(line, 8).splitlines()
    assert first.startswith("    name")
    assert rest
    assert all(len(each) <= 80 and len(each) - len(each.lstrip()) == 8 for each in rest)


def test_judged_again_with_other_seeds(
    judged: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny: Path
) -> None:
    """The chapters that judge are executed at another scale, and what they kept is compared; a file only if asked."""
    asked = []

    def execute(root: Path, scale: str, names: tuple[str, ...], **more: Any) -> Report:
        asked.append((scale, names))
        for claim, state in (("C10", State.NULL), ("C3", State.YES)):
            for old in (verdict_records("paper")[claim, "published"],):
                units = [Unit(row["case"], "ratio", Interval(1.0, 0.9, 1.1, 0.5, 6), state) for row in old["rows"][:-2]]
                record(Verdict(claim, "published", scale, "x", tuple(units), Ruling(Word.NOT)))
        return Report()

    monkeypatch.chdir(tiny)
    monkeypatch.setattr(repeating, "execute", execute)
    text = call("stability", "depth", "condition_number", "--scale", "paper").output
    assert asked == [("paper+100", ("depth", "condition_number"))]
    assert "6 of 8 decided cases keep their state: 75.0% (goal: 95%)" in text
    assert sum("NULL 1 [0.9, 1.1]" in line for line in text.splitlines()) == 2
    assert "not compared: C11 published (not judged again)" in text
    file = tmp_path / "kept.json"
    made = json.loads(call("stability", "depth", "--offset", "200", "--json", "--keep", str(file)).output)
    assert asked[-1][0] == "paper+200"
    assert (made["scale"], made["offset"], len(made["rows"])) == ("paper", 200, 2)
    again = stability.read(file)
    assert again is not None
    assert again.changed == again.rows
    assert "C10" in call("verdicts", "--scale", "paper+200").output


def test_what_is_computed_twice_is_listed_and_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []
    row = twice.Found("C1", "tuned", "setting 1", "end loss", "REV", None, "ratio", 10, 0, (0,), (0.5,), (0.6,))
    made = twice.Twice("quick", "2026-01-01", "0.1.0", (row,), (twice.Left("C5", "tuned", "b", "not computed here"),))

    def compute(*given: Any) -> twice.Twice:
        asked.append(given)
        return made

    monkeypatch.setattr("lintrans.paper.second.cases.compute", compute)
    file = tmp_path / "kept.json"
    text = call("twice", "--scale", "quick", "--claim", "c1", "--keep", str(file)).output
    assert asked == [("quick", 20.0, 2, 2, ("C1",), False)]
    assert "1 of 1 cases" in text
    assert "not computed: C5 tuned, b (not computed here)" in text
    assert twice.read(file) == made
    assert json.loads(call("twice", "--json", "--list").output)["rows"][0]["again"] == [0.6]
    assert asked[-1] == ("paper", 20.0, 2, 2, (), True)


@pytest.mark.parametrize("command", ["twice", "stability"])
def test_a_place_that_cannot_be_written_is_refused_before_anything_is_computed(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lintrans.paper.second.cases.compute", lambda *_: pytest.fail("was computed"))
    monkeypatch.setattr("lintrans.publish.repeating.repeated", lambda *_: pytest.fail("was computed"))
    (tmp_path / "file").touch()
    place = tmp_path / "file" / "kept.json"
    result = call(command, "--keep", str(place))
    assert result.exit_code == 2
    assert f"{place} cannot be written: name a file in a folder of yours" in result.output


def test_nan_minutes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lintrans.paper.second.cases.compute", lambda *_: pytest.fail("was computed"))
    result = call("twice", "--minutes", "nan")
    assert result.exit_code == 2
    assert "nan is no number of minutes: give one of at least 0" in result.output
