"""Chapters: their parameters are checked, they execute once for what they depend on, failures are named."""

from __future__ import annotations

import datetime
import functools
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from conftest import CHAPTER, HEADER, ROOT

import lintrans as lt
from lintrans.publish import chapters as chapters_module
from lintrans.publish import executing, reuse
from lintrans.publish import page as page_module
from lintrans.publish.book import BookError, ParameterError, build, chapters, execute, find_root
from lintrans.publish.chapter_parameters import assigned, check, convert, declared, is_declaration
from lintrans.publish.chapters import EARLY, _may_start
from lintrans.publish.notebooks import pairs, settle
from lintrans.publish.site import stage
from lintrans.store.sources import PACKAGE, Code

CELL = 'scale: str = "paper"  # paper or quick\nseeds: int = 0\nlr: float = 0.1  # rate\nlayers = 3\n'


def run(cells: list[str], call: str = "parameters(scale=scale, seeds=seeds, lr=lr, layers=layers)") -> Any:
    """Run cells as a kernel does: one namespace, and their history in ``In``."""
    space: dict[str, Any] = {"In": ["", *cells], "parameters": page_module.parameters}
    for cell in cells:
        exec(cell, space)
    return eval(call, space)


# --- the parameters cell ---


def test_reads_a_parameters_cell() -> None:
    found = declared(CELL)
    assert [(item.name, item.kind, item.default) for item in found.values()] == [
        ("scale", "str", "paper"),
        ("seeds", "int", 0),
        ("lr", "float", 0.1),
        ("layers", "int", 3),
    ]
    assert found["lr"].comment == "rate"
    assert is_declaration(CELL)
    assert not is_declaration(CELL + "import os\n")
    assert assigned("a = 1\nb: float = x + 1") == {"a": "1", "b": "x + 1"}


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("int", [3, -1], [1.0, True, "3", None]),
        ("float", [0.5, 3], [float("nan"), float("inf"), True, "0.5"]),
        ("bool", [True], [1, "true"]),
        ("str", ["a"], [1, None]),
        ("int | None", [3, None], [1.5]),
        ("list[float]", [[0.1, 1]], [[True], 0.1, ["a"]]),
        ("tuple[int, ...]", [(1, 2), [3]], [(1.5,)]),
    ],
)
def test_checks_types(kind: str, good: list[Any], bad: list[Any]) -> None:
    for value in good:
        check("x", value, kind)
    for value in bad:
        with pytest.raises(ParameterError, match=r"x = .* is not allowed: give "):
            check("x", value, kind)


def test_an_int_is_taken_for_a_float() -> None:
    value = check("lr", 1, "float")
    assert isinstance(value, float)


@pytest.mark.parametrize(
    ("name", "value", "kind", "message"),
    [
        ("scale", "papre", "str", r"scale = 'papre' is not one of 'paper', 'quick' \(did you mean 'paper'\?\)"),
        ("seeds", -1, "int", "seeds = -1 is not allowed"),
        ("device", "cdua", "str", "device = 'cdua' is not one of .*did you mean 'cuda'"),
        ("lr", float("nan"), "float", "lr = nan .*finite number"),
    ],
)
def test_checks_values(name: str, value: Any, kind: str, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        check(name, value, kind)


def test_a_device_that_is_not_here_is_refused_in_words() -> None:
    import torch

    if torch.cuda.is_available():
        assert check("device", "cuda", "str") == "cuda"
    else:
        with pytest.raises(ParameterError, match="device = 'cuda' is not available here"):
            check("device", "cuda", "str")


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [("12", "int", 12), ("0.5", "float", 0.5), ("true", "bool", True), ("7", "str", "7"), ("none", "int | None", None)],
)
def test_reads_values_from_the_command_line(text: str, kind: str, value: Any) -> None:
    assert convert("x", text, kind) == value
    with pytest.raises(ParameterError):
        convert("x", "nan", "float")


# --- inside a chapter ---


def test_parameters_of_a_page() -> None:
    page = run([CELL])
    assert (page.scale, page.seeds, page.lr, page.layers, page.changed) == ("paper", 0, 0.1, 3, ())
    page = run([CELL, '# Parameters\nscale = "quick"\nlr = 0.2\n'])
    assert (page.scale, page.lr, page.changed) == ("quick", 0.2, ("lr",))
    assert run([CELL, CELL.replace("0.1", "0.7")]).changed == ("lr",)  # edited and run again: not the page's own
    with pytest.raises(AttributeError, match="fixed"):
        page.lr = 1
    with pytest.raises(AttributeError, match="no parameter 'momentum': it has scale, seeds"):
        _ = page.momentum


def test_an_injected_name_that_is_not_declared_is_refused() -> None:
    with pytest.raises(ParameterError) as refused:
        run([CELL, "# Parameters\nlayres = 5\n"])
    message = "layres = 5 is no parameter of this chapter: there are scale, seeds, lr, layers (did you mean 'layers'?)"
    assert str(refused.value) == message
    run([CELL, "# Parameters\nlayres = 5\n", "# Parameters\nlayers = 5\n"])  # put right and run again


def test_the_type_of_a_default_counts_where_there_is_no_annotation() -> None:
    with pytest.raises(ParameterError, match=r"layers = 2\.5 \(float\) is not allowed: give a whole number"):
        run([CELL, "# Parameters\nlayers = 2.5\n"])


def test_a_declared_parameter_that_the_chapter_forgets_is_named() -> None:
    with pytest.raises(ParameterError, match="layers is declared in the parameters cell"):
        run([CELL], "parameters(scale=scale, seeds=seeds, lr=lr)")


def test_plain_python_without_a_kernel() -> None:
    space: dict[str, Any] = {"parameters": page_module.parameters}
    exec("steps: int = 12\npage = parameters(steps=steps)", space)
    assert (space["page"].steps, space["page"].changed) == (12, ())
    with pytest.raises(ParameterError, match=r"steps = 0\.5"):
        exec("steps: int = 12\nparameters(steps=0.5)", space)


def test_the_error_has_no_traceback_in_a_notebook() -> None:
    assert ParameterError("x = 1 is wrong")._render_traceback_() == ["ParameterError: x = 1 is wrong"]


def test_provenance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_module, "_page", None)
    with pytest.raises(RuntimeError, match=r"call lt\.book\.parameters"):
        page_module.provenance_text()
    run([CELL, "# Parameters\nlr = 0.2\n"])
    created = datetime.datetime(2025, 1, 2, 3, 4, tzinfo=datetime.UTC)
    use = {"title": "curves", "key": "abcdef0123456789", "reused": True, "device": "cpu", "created": created}
    monkeypatch.setattr("lintrans.store.results.used", lambda: [SimpleNamespace(**use, seconds=12.34)])
    text = page_module.provenance_text()
    for part in ("scale: paper", f"lintrans {lt.__version__}", "PyTorch", "UTC", "lr = 0.2", "curves", "reused"):
        assert part in text


def test_provenance_names_the_device_that_auto_took(monkeypatch: pytest.MonkeyPatch) -> None:
    call = "parameters(scale=scale, device=device)"
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    for taken, named in (([], "cpu"), (["cpu", "cpu"], "cpu"), (["cuda (a GPU)", "cpu"], "cpu and cuda (a GPU)")):
        run(['scale: str = "paper"\ndevice: str = "auto"\n'], call)
        made = [
            SimpleNamespace(title="", key="", reused=False, device=one, created=datetime.datetime.now(), seconds=1.0)
            for one in taken
        ]
        monkeypatch.setattr("lintrans.store.results.used", lambda made=made: made)
        assert f"device: {named} (auto)\n" in page_module.provenance_text()
    run(['scale: str = "paper"\ndevice: str = "cpu"\n'], call)
    assert "device: cpu\n" in page_module.provenance_text()


def test_say_and_glue_outside_a_notebook(capsys: pytest.CaptureFixture[str]) -> None:
    import numpy as np
    import torch

    lt.book.say("Adam **wins**.")
    assert capsys.readouterr().out == "Adam **wins**.\n"
    for value in (1, 0.5, "word", np.float64(2), torch.tensor(3.0), np.array([1.0])):
        lt.book.glue(key=value)
    for wrong in (None, [1, 2], np.zeros(2)):
        with pytest.raises(TypeError, match="glue cannot format key = "):
            lt.book.glue(key=wrong)


# --- finding chapters ---


def test_chapters_in_the_order_of_execution(tiny: Path) -> None:
    assert [chapter.name for chapter in chapters(tiny)] == ["first", "second", "intro"]
    names = [chapter.name for chapter in chapters(ROOT)]
    assert names[: len(EARLY)] == list(EARLY)
    assert {*names[-len(reuse.LAST) :]} == {*reuse.LAST}
    assert chapters(tiny)[0].title == "The first"
    assert list(chapters(tiny)[0].parameters()) == ["scale", "seeds", "device", "lr"]


def test_finds_the_books_folder(tiny: Path, tmp_path: Path) -> None:
    assert find_root(tiny / "book") == tiny
    assert find_root(tmp_path) == ROOT  # an editable install knows its checkout


def test_no_book_is_said_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        chapters_module, "__file__", str(tmp_path / "site-packages" / "lintrans" / "publish" / "chapters.py")
    )
    with pytest.raises(BookError, match="no book here"):
        find_root(tmp_path)


# --- executing ---


@pytest.fixture
def fixed_library(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Digests that nobody who edits the library meanwhile changes."""
    library = {"tasks.py": "1", "models.py": "1"}
    monkeypatch.setattr(reuse, "library_digests", lambda chapter: dict(library))
    monkeypatch.setattr(reuse, "_verdicts", lambda: "same")
    return library


def edit(root: Path, name: str, old: str, new: str) -> None:
    path = root / "book" / f"{name}.md"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    for pair in pairs(root):
        settle(pair)


def stand_in(calls: list[str], fault: BaseException | None = None) -> Any:
    """Papermill's place taken: writes the output as papermill would, without a kernel."""

    def papermill(chapter: Any, part: Path, parameters: dict[str, Any], head: str) -> None:
        calls.append(chapter.name)
        part.write_text(chapter.notebook.read_text())
        if fault is not None:
            raise fault

    return papermill


def test_reuses_what_is_unchanged_and_says_why_not(
    tiny: Path, fixed_library: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    monkeypatch.setattr(executing, "_papermill", stand_in(calls))
    lines: list[str] = []

    def again(**more: Any) -> str:
        lines.clear()
        calls.clear()
        execute(tiny, "quick", say=lines.append, jobs=1, **more)
        return "\n".join(lines)

    assert again().count("executing: not executed before") == 3
    assert "[1/3] first: reused (unchanged since 20" in again()
    assert calls == []
    edit(tiny, "second", "A sentence.", "Another.")
    assert "[2/3] second: executing: its text changed" in again()
    assert calls == ["second"]
    fixed_library["models.py"] = "2"
    assert again().count("executing: the library changed (models.py)") == 3
    (tiny / "requirements.lock").write_text("torch==2.0\n")
    assert again().count("the lock file changed") == 3
    monkeypatch.setattr(reuse, "_verdicts", lambda: "others")
    assert "intro: executing: the stored verdicts changed" in again()
    assert calls == ["intro"]
    copy = tiny / "build" / "quick" / "src" / "book" / "first.ipynb"
    copy.write_text(copy.read_text().replace("A sentence", "A lie"))
    assert "first: executing: its executed copy was changed" in again()
    assert "first: executing: asked to" in again(names=("first",), force=True)


def test_a_changed_module_that_the_cells_use_is_named(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a comment in it, nor code that no cell uses, executes a chapter again."""
    package = shutil.copytree(PACKAGE, tmp_path / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__"))
    chapter, target = chapters(tiny)[0], tiny / "build" / "quick" / "src" / "book" / "first.ipynb"
    reuse.record(target, "quick", "", reuse.digests_of(chapter, {}))
    for name, more, named in (("page", "# why", ""), ("site", "EDITED = 1", ""), ("page", "EDITED = 1", "page")):
        with (package / "publish" / f"{name}.py").open("a") as file:
            file.write(f"\n{more}\n")
        monkeypatch.setattr(reuse, "code", lambda: Code(package))
        why, _ = reuse.why_not(target, reuse.note(target, "quick"), reuse.digests_of(chapter, {}))
        assert (f"lintrans.publish.{named}" in why) if named else why == ""


def test_chapters_run_side_by_side_and_those_that_sum_up_wait(
    tiny: Path, fixed_library: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tiny / "log"

    def slow(chapter: Any, part: Path, *rest: Any) -> None:
        for word in ("begins", "ends"):
            with log.open("a") as file:
                file.write(f"{chapter.name} {word}\n")
            time.sleep(0.5)
        part.write_text(chapter.notebook.read_text())

    monkeypatch.setattr(executing, "_papermill", slow)
    lines: list[str] = []
    report = execute(tiny, "quick", say=lines.append, jobs=2)
    assert [outcome.chapter.name for outcome in report.outcomes] == ["first", "second", "intro"]
    assert not report.failed
    found = log.read_text().split("\n")[:-1]
    assert sorted(found[:2]) == ["first begins", "second begins"]
    assert found[-2:] == ["intro begins", "intro ends"]
    assert sum("done in" in line for line in lines) == 3


@pytest.mark.parametrize(
    ("name", "under_way", "may"),
    [
        ("depth", [], True),
        ("depth", ["larger"], True),
        ("performance", ["depth"], False),
        ("performance", [], True),
        ("depth", ["performance"], False),
        ("intro", ["depth"], False),
        ("intro", [], True),
        ("scorecard", ["intro"], True),
        ("intro", ["performance"], False),
        ("adam_vs_sgd", ["practice"], False),
        ("adam_vs_sgd", ["depth"], True),
        ("depth", ["practice"], True),
    ],
)
def test_what_may_run_beside_what(name: str, under_way: list[str], may: bool) -> None:
    known = {chapter.name: chapter for chapter in chapters(ROOT)}
    assert _may_start(known[name], {other: known[other] for other in under_way}) is may


def test_a_chapter_whose_process_dies_has_failed(
    tiny: Path, fixed_library: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(chapter: Any, *rest: Any) -> None:
        if chapter.name == "second":
            os._exit(1)
        stand_in([])(chapter, *rest)

    monkeypatch.setattr(executing, "_papermill", dies)
    report = execute(tiny, "quick", say=lambda line: None, jobs=2)
    assert [(outcome.chapter.name, outcome.error) for outcome in report.failed] == [("second", "the process died")]


def test_other_parameters_never_enter_the_book(
    tiny: Path, fixed_library: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executing, "_papermill", stand_in([]))
    report = execute(tiny, "quick", ("first",), {"lr": "0.5"}, say=lambda line: None)
    assert report.outcomes[0].path is not None
    assert report.outcomes[0].path.parent == tiny / "build" / "quick" / "custom"
    assert not (tiny / "build" / "quick" / "src").exists()
    assert execute(tiny, "quick", ("first",), {"lr": "0.5"}, say=lambda line: None).outcomes[0].reused
    with pytest.raises(ParameterError, match=r"lrr = 1 is no parameter of first: .*did you mean 'lr'"):
        execute(tiny, "quick", ("first",), {"lrr": "1"})
    with pytest.raises(ParameterError, match=r"seeds = 1\.5"):
        execute(tiny, "quick", ("first",), {"seeds": "1.5"})


def test_refuses_halves_that_differ(tiny: Path) -> None:
    path = tiny / "book" / "first.md"
    path.write_text(path.read_text().replace("A sentence.", "Edited."))
    with pytest.raises(BookError, match=r"two halves of first differ.*run `lintrans pairs` first"):
        execute(tiny, "quick")


def test_a_failed_run_never_looks_done(
    tiny: Path, fixed_library: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny / "build" / "quick"
    monkeypatch.setattr(executing, "_papermill", stand_in([]))
    execute(tiny, "quick", ("first",), say=lambda line: None)
    edit(tiny, "first", "A sentence.", "Another.")
    monkeypatch.setattr(executing, "_papermill", stand_in([], RuntimeError("no kernel")))
    report = execute(tiny, "quick", ("first",), say=lambda line: None)
    assert [outcome.error for outcome in report.failed] == ["RuntimeError: no kernel"]
    assert not (folder / "src" / "book" / "first.ipynb").exists()
    assert (folder / "failed" / "first.ipynb").exists()


def test_an_interrupt_keeps_what_is_finished(
    tiny: Path, fixed_library: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def second_is_interrupted(chapter: Any, *rest: Any) -> None:
        stand_in([], KeyboardInterrupt() if chapter.name == "second" else None)(chapter, *rest)

    monkeypatch.setattr(executing, "_papermill", second_is_interrupted)
    with pytest.raises(KeyboardInterrupt):
        execute(tiny, "quick", say=lambda line: None, jobs=1)
    copies = tiny / "build" / "quick" / "src" / "book"
    assert [path.name for path in copies.iterdir()] == ["first.ipynb"]
    assert list((tiny / "build" / "quick" / "running").iterdir()) == []


def test_a_real_chapter_under_plain_papermill_from_another_folder(tiny: Path, tmp_path: Path) -> None:
    """Papermill alone, as a reader calls it: an unknown name stops the run, with one clear line."""
    command = [sys.executable, "-m", "papermill", str(tiny / "book" / "first.ipynb"), "out.ipynb", "--no-progress-bar"]
    done = subprocess.run([*command, "-p", "lrr", "0.2"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "ParameterError: lrr = 0.2 is no parameter of this chapter" in done.stderr
    assert "page.py" not in done.stderr


# --- the real thing, with kernels and Sphinx ---


@pytest.mark.slow
def test_builds_a_site_and_reuses_it(tiny: Path, fixed_library: dict[str, str]) -> None:
    lines: list[str] = []
    built = build(tiny, "quick", tell=lines.append)
    page = (built.index.parent / "book" / "first.html").read_text()
    assert "At scale <strong>quick</strong> the rate is 0.1" in page
    assert "The rate is <" in page
    assert "How this page was made" in page
    assert "0.10" in page
    sources = built.index.parent / "_sources" / "book"
    assert {path.name for path in sources.iterdir()} >= {"first.ipynb", "first.md", "plain.md"}
    assert str(tiny) not in (sources / "first.ipynb").read_text()
    assert (built.index.parent / "_static" / "mathjax" / "tex-svg-full.js").exists()
    lines.clear()
    build(tiny, "quick", tell=lines.append)
    assert sum("reused" in line for line in lines) == 3
    (tiny / "book" / "plain.md").write_text("# Plain\n\n{doc}`nowhere`\n")
    with pytest.raises(BookError, match="nowhere"):
        build(tiny, "quick", tell=lines.append)
    assert "Nothing to execute" in (built.index.parent / "book" / "plain.html").read_text()  # the old site stays
    assert not (tiny / "build" / "quick" / "building").exists()


FAULTS = {
    "first": ("1 / 0", "ZeroDivisionError: division by zero"),
    "second": ("import warnings\nwarnings.warn('look here')", "UserWarning: look here"),
    "third": ("import os\nos._exit(1)", "the kernel died"),
    "fourth": ("import numpy as np\nnp.var(np.array([np.inf]))", "RuntimeWarning: invalid value"),
}


@pytest.mark.slow
def test_failing_chapters_are_named_and_the_others_are_built(tiny: Path, fixed_library: dict[str, str]) -> None:
    with (tiny / "_toc.yml").open("a") as contents:
        contents.write("  - file: book/third\n  - file: book/fourth\n")
    for name in ("third", "fourth"):
        (tiny / "book" / f"{name}.md").write_text(HEADER + CHAPTER.format(name=name))
    for name, (code, _) in FAULTS.items():
        edit(tiny, name, "The rate is", f"```{{code-cell}} ipython3\n{code}\n```\n\nThe rate is")
    built = build(tiny, "quick", tell=lambda line: None)
    failed = built.report.failed
    assert [outcome.chapter.name for outcome in failed] == list(FAULTS)
    pages = built.index.parent / "book"
    for outcome in failed:
        name = outcome.chapter.name
        assert outcome.cell.startswith("cell 4 ("), name
        assert FAULTS[name][1] in outcome.error
        assert "This chapter failed" in (pages / f"{name}.html").read_text()
        assert not (tiny / "build" / "quick" / "src" / "book" / f"{name}.ipynb").exists()
    assert "At scale <strong>quick</strong>" in (pages / "intro.html").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("names", [("first",), ("first", "second")])
def test_ctrl_c_stops_the_kernel_too(names: tuple[str, ...], tiny: Path) -> None:
    pid = tiny / "kernel.pid"
    sleep = f"import os, time\nopen({str(pid)!r}, 'w').write(str(os.getpid()))\ntime.sleep(600)"
    edit(tiny, "first", "The rate is", f"```{{code-cell}} ipython3\n{sleep}\n```\n\nThe rate is")
    program = "from lintrans.publish.cli import main; main()"
    command = [sys.executable, "-c", program, "execute", *names, "--scale", "quick", "--jobs", "2"]
    listen = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a shell's background jobs ignore it
    process = subprocess.Popen(command, cwd=tiny, stderr=subprocess.PIPE, text=True, preexec_fn=listen)
    for _ in range(600):
        if pid.exists() and pid.read_text():
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "stopped; what was finished stays" in errors
    assert "Traceback" not in errors
    for _ in range(100):
        try:
            os.kill(int(pid.read_text()), 0)
        except ProcessLookupError:
            break
        time.sleep(0.1)
    else:
        raise AssertionError("the kernel lives on")
    assert not (tiny / "build" / "quick" / "src" / "book" / "first.ipynb").exists()


def test_a_staged_book_says_what_is_missing(tiny: Path) -> None:
    assert stage(tiny, "quick") == ["first", "second", "intro"]
    stub = (tiny / "build" / "quick" / "src" / "book" / "first.md").read_text()
    assert "not executed yet" in stub
    config = yaml.safe_load((tiny / "build" / "quick" / "src" / "_config.yml").read_text())
    assert config["execute"]["execute_notebooks"] == "off"


@pytest.mark.parametrize("name", ["results.json", "gpu.json"])
def test_a_page_that_loads_benchmarks_depends_on_them(tiny: Path, name: str) -> None:
    first, second = chapters(tiny)[:2]
    first.text.write_text(first.text.read_text() + "\n`performance.load()`\n")
    (tiny / "benchmarks").mkdir()
    record = tiny / "benchmarks" / name
    record.write_text("{}")
    before = reuse.digests_of(first, {}), reuse.digests_of(second, {})
    record.write_text('{"date": "later"}')
    after = reuse.digests_of(first, {}), reuse.digests_of(second, {})
    assert before[0] != after[0]
    assert before[1] == after[1]
