"""The halves of a chapter: which one was edited is told by content, and no edit is ever lost silently."""

from __future__ import annotations

import codecs
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, git, make_book

from lintrans import files
from lintrans.publish import notebooks
from lintrans.publish.notebooks import Pair, PairError, pairs, save, settle, state

OLD, NEW = 1_000_000_000, 4_000_000_000


@pytest.fixture
def pair(tiny: Path) -> Pair:
    return Pair(tiny, "first")


def edit_text(pair: Pair, old: str = "A sentence.", new: str = "An edited sentence.") -> None:
    content = pair.text.read_text()
    assert old in content
    pair.text.write_text(content.replace(old, new))


def edit_notebook(pair: Pair, new: str = "A sentence from the notebook.") -> None:
    notebook = json.loads(pair.notebook.read_text())
    notebook["cells"][0]["source"] = ["# The first\n", "\n", new]
    pair.notebook.write_text(json.dumps(notebook))


def ids(pair: Pair) -> list[str]:
    return [cell["id"] for cell in json.loads(pair.notebook.read_text())["cells"]]


def test_the_books_own_pairs_are_in_sync() -> None:
    for pair in pairs(ROOT):
        found = state(pair)
        assert found.settled, f"{pair.name}: {found.why}; run make pairs"
        cells = json.loads(pair.notebook.read_text())["cells"]
        assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells), pair.name


def test_finds_chapters_and_not_plain_pages(tiny: Path) -> None:
    assert [pair.name for pair in pairs(tiny)] == ["first", "intro", "second"]


def test_in_sync_changes_nothing(pair: Pair) -> None:
    assert state(pair).settled
    assert settle(pair) == ""
    assert git(pair.root, "status", "--porcelain") == ""


@pytest.mark.parametrize("text_time", [OLD, NEW])
def test_an_edited_text_wins_whatever_the_time_stamps(pair: Pair, text_time: int) -> None:
    before = ids(pair)
    edit_text(pair)
    os.utime(pair.text, (text_time, text_time))
    assert state(pair).edited == "text"
    assert "only the text differs from git's HEAD" in settle(pair)
    assert "An edited sentence." in pair.notebook.read_text()
    assert ids(pair) == before
    diff = [line for line in git(pair.root, "diff", "-U0", "--text").splitlines() if line[:1] in "+-"]
    assert len(diff) == 8  # one line out and one in, with two lines of file names, for each half
    assert settle(pair) == ""


@pytest.mark.parametrize("notebook_time", [OLD, NEW])
def test_an_edited_notebook_wins_whatever_the_time_stamps(pair: Pair, notebook_time: int) -> None:
    edit_notebook(pair)
    os.utime(pair.notebook, (notebook_time, notebook_time))
    assert state(pair).edited == "notebook"
    settle(pair)
    assert "A sentence from the notebook." in pair.text.read_text()
    assert settle(pair) == ""


def test_both_edited_touches_nothing_and_says_how_to_go_on(pair: Pair) -> None:
    edit_text(pair)
    edit_notebook(pair)
    before = pair.text.read_bytes(), pair.notebook.read_bytes()
    with pytest.raises(PairError) as refused:
        settle(pair)
    assert (pair.text.read_bytes(), pair.notebook.read_bytes()) == before
    for part in ("both were edited", "-A sentence from the notebook.", "+An edited sentence.", "--take text first"):
        assert part in str(refused.value)


@pytest.mark.parametrize(("take", "kept"), [("text", "An edited sentence."), ("notebook", "from the notebook")])
def test_take_settles_a_conflict(pair: Pair, take: str, kept: str) -> None:
    edit_text(pair)
    edit_notebook(pair)
    settle(pair, take)
    assert kept in pair.text.read_text()
    assert kept in pair.notebook.read_text()
    assert state(pair).settled


def test_edits_go_on_between_commits(pair: Pair) -> None:
    edit_text(pair)
    settle(pair)
    edit_text(pair, "An edited sentence.", "Edited again.")  # now both halves differ from HEAD
    assert "what both last said" in settle(pair)
    edit_notebook(pair)
    settle(pair)
    assert "from the notebook" in pair.text.read_text()


def test_a_half_put_back_by_git_is_not_taken_for_an_edit_of_the_other(pair: Pair) -> None:
    edit_text(pair)
    settle(pair)
    git(pair.root, "checkout", "-q", "book/first.md")  # the reader takes the edit back, in one half
    settle(pair)
    assert git(pair.root, "status", "--porcelain") == ""


def test_without_git_and_memory_nothing_is_guessed(pair: Pair, tmp_path: Path) -> None:
    (pair.root / ".git").rename(tmp_path / "away")
    edit_text(pair)
    with pytest.raises(PairError, match="nothing here tells which was edited"):
        settle(pair)
    settle(pair, "text")
    assert state(pair).settled


def test_a_missing_half_is_made(pair: Pair) -> None:
    whole = pair.notebook.read_text()
    pair.notebook.unlink()
    settle(pair)
    assert pair.notebook.read_text() == whole  # ids too: they come from HEAD
    text = pair.text.read_text()
    pair.text.unlink()
    settle(pair)
    assert pair.text.read_text() == text


def test_ids_of_a_new_chapter_follow_from_its_content(pair: Pair, tmp_path: Path) -> None:
    text = pair.text.read_text()
    assert notebooks.notebook_of(text, pair.root, "x") == notebooks.notebook_of(text, pair.root, "x")
    twice = text + "\n```{code-cell} ipython3\n1 + 1\n```\n\n```{code-cell} ipython3\n1 + 1\n```\n"
    found = [cell["id"] for cell in json.loads(notebooks.notebook_of(twice, pair.root, "x"))["cells"]]
    assert len(set(found)) == len(found)


def test_a_new_cell_leaves_the_others_ids_alone(pair: Pair) -> None:
    before = ids(pair)
    edit_text(pair, "A sentence.\n", "A sentence.\n\n```{code-cell} ipython3\n1 + 1\n```\n")
    settle(pair)
    assert [identity for identity in ids(pair) if identity in before] == before
    assert len(ids(pair)) == len(before) + 1


def test_outputs_and_an_editors_metadata_are_tidied_away(pair: Pair) -> None:
    clean = pair.notebook.read_bytes()
    notebook = json.loads(clean)
    notebook["metadata"]["language_info"] = {"name": "python", "version": "3.12.0", "pygments_lexer": "ipython3"}
    notebook["metadata"]["kernelspec"]["display_name"] = "Python 3 (ipykernel)"
    code = next(cell for cell in notebook["cells"] if cell["cell_type"] == "code")
    code["outputs"] = [{"output_type": "stream", "name": "stdout", "text": ["hello"]}]
    code["execution_count"] = 3
    code["metadata"]["scrolled"] = True
    pair.notebook.write_text(json.dumps(notebook))
    assert not state(pair).edited
    assert not state(pair).settled
    settle(pair)
    assert pair.notebook.read_bytes() == clean
    assert git(pair.root, "status", "--porcelain") == ""


def test_an_editors_metadata_alone_is_harmless(pair: Pair) -> None:
    """What JupyterLab and others note: `pairs --check` bears it, and `pairs` takes it away."""
    clean = pair.notebook.read_bytes()
    notebook = json.loads(clean)
    notebook["metadata"] |= {"language_info": {"name": "python"}, "toc-showcode": True, "widgets": {}}
    for cell in notebook["cells"]:
        cell["metadata"] |= {"scrolled": True, "collapsed": False, "editable": True, "jupyter": {"source_hidden": True}}
    pair.notebook.write_text(json.dumps(notebook))
    assert (state(pair).settled, state(pair).harmless) == (False, True)
    for change in ({"outputs": [{"output_type": "stream", "name": "stdout", "text": ["a"]}]}, {"execution_count": 3}):
        odd = json.loads(json.dumps(notebook))
        next(cell for cell in odd["cells"] if cell["cell_type"] == "code").update(change)
        pair.notebook.write_text(json.dumps(odd))
        assert (state(pair).settled, state(pair).harmless) == (False, False)
    odd = json.loads(json.dumps(notebook))
    odd["cells"][-1]["metadata"]["tags"] = ["hide-output"]  # of the text, and so no editor's affair
    pair.notebook.write_text(json.dumps(odd))
    assert (state(pair).edited, state(pair).harmless) == ("notebook", False)
    pair.notebook.write_text(json.dumps(notebook))
    settle(pair)
    assert pair.notebook.read_bytes() == clean


@pytest.mark.parametrize("half", ["text", "notebook"])
def test_a_byte_order_mark_is_dropped(pair: Pair, half: str) -> None:
    """It is no edit, and never a second header."""
    path: Path = getattr(pair, half)
    before = pair.text.read_bytes(), pair.notebook.read_bytes()
    path.write_bytes(codecs.BOM_UTF8 + path.read_bytes())
    assert [found.name for found in pairs(pair.root)] == ["first", "intro", "second"]
    assert (state(pair).edited, state(pair).tidy) == ("", False)
    settle(pair)
    assert (pair.text.read_bytes(), pair.notebook.read_bytes()) == before
    if half == "text":
        edit_text(pair)
        path.write_bytes(codecs.BOM_UTF8 + path.read_bytes())
        settle(pair)
        assert not path.read_bytes().startswith(codecs.BOM_UTF8)
        assert path.read_text().count("kernelspec:") == 1
        assert "An edited sentence." in pair.notebook.read_text()


@pytest.mark.parametrize("half", ["text", "notebook"])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "latin-1"])
def test_another_encoding_is_named(pair: Pair, half: str, encoding: str) -> None:
    path: Path = getattr(pair, half)
    path.write_bytes(path.read_text().replace("A sentence.", "Ein schöner Satz.").encode(encoding))
    garbled = path.read_bytes()
    with pytest.raises(PairError, match=rf"book/{path.name} is not in UTF-8 \(.*\): save it as UTF-8"):
        settle(pair)
    assert path.read_bytes() == garbled
    assert state(Pair(pair.root, "second")).settled
    settle(pair, "notebook" if half == "text" else "text")
    assert state(pair).settled


def test_what_is_no_notebook_is_named(pair: Pair) -> None:
    pair.notebook.write_text("{ broken")
    with pytest.raises(PairError, match=r"book/first\.ipynb cannot be read"):
        state(pair)


def test_save_writes_both_halves(pair: Pair) -> None:
    notebook = json.loads(pair.notebook.read_text())
    notebook["cells"][0]["source"] = "# The first\n\nSaved."
    save(pair, notebook)
    assert "Saved." in pair.text.read_text()
    assert state(pair).settled


def test_save_refuses_to_overwrite_an_edit_made_elsewhere(pair: Pair) -> None:
    opened = json.loads(pair.notebook.read_text())
    edit_text(pair)
    with pytest.raises(PairError, match=r"not saved: book/first\.md was edited outside"):
        save(pair, opened)
    assert "An edited sentence." in pair.text.read_text()


def test_an_interrupted_write_leaves_the_old_file(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    before = pair.text.read_text()

    def broken(self: Path, target: Path) -> Path:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", broken)
    with pytest.raises(OSError, match="disk full"):
        files.write(pair.text, "half")
    assert pair.text.read_text() == before
    assert [path.name for path in pair.text.parent.iterdir() if path.name.endswith(".part")] == []


class Server:
    """A real Jupyter server on this machine, with the contents manager that `make lab` uses."""

    def __init__(self, root: Path, folder: Path) -> None:
        from lintrans.publish.lab import options

        self.root = root
        command = [sys.executable, "-m", "jupyter_server", *options(root, 0, browser=False)]
        log = folder / "server.log"
        self.log = log.open("w")
        self.process = subprocess.Popen(
            [*command, "--IdentityProvider.token=secret", "--allow-root", "--ServerApp.jpserver_extensions={}"],
            env={**os.environ, "JUPYTER_RUNTIME_DIR": str(folder)},
            stdout=self.log,
            stderr=self.log,
            cwd=root,
        )
        # the server takes a port that is free and writes down which: one looked for here could be taken meanwhile
        written = folder / f"jpserver-{self.process.pid}.json"
        for _ in range(150):
            try:
                self.url = json.loads(written.read_text())["url"] + "api/contents/"
                self.get("", content=0)
                return
            except (OSError, json.JSONDecodeError):  # not written yet, half written, not answering yet
                assert self.process.poll() is None, log.read_text()
                time.sleep(0.2)
        raise AssertionError(log.read_text())

    def call(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": "token secret", "Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.load(answer)

    def get(self, path: str, **query: Any) -> Any:
        text = "&".join(f"{key}={value}" for key, value in query.items())
        return self.call("GET", f"{path}?{text}")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)
        self.log.close()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("lab")
    started = Server(make_book(folder / "book of the lab"), folder)
    yield started
    started.stop()


@pytest.fixture
def server(running: Server) -> Server:
    git(running.root, "checkout", "-q", ".")
    (running.root / notebooks.RECORD).unlink(missing_ok=True)
    return running


def with_outputs(model: dict[str, Any]) -> dict[str, Any]:
    """What JupyterLab would save after a run: outputs, counts, its own metadata."""
    content = model["content"]
    content["metadata"]["language_info"] = {"name": "python", "version": "3.11.0", "pygments_lexer": "ipython3"}
    content["metadata"]["kernelspec"]["display_name"] = "Python 3 (ipykernel)"
    for cell in content["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "hello\n"}]
            cell["execution_count"] = 1
        cell["metadata"]["editable"] = True
    return {"type": "notebook", "format": "json", "content": content}


def refusal(server: Server, method: str, path: str, body: Any = None) -> str:
    with pytest.raises(urllib.error.HTTPError) as refused:
        server.call(method, path, body)
    assert refused.value.code == 409
    return str(json.loads(refused.value.read())["message"])


def test_jupyterlab_saves_what_was_edited_and_nothing_else(server: Server) -> None:
    pair = Pair(server.root, "first")
    for half in ("book/first.ipynb", "book/first.md"):
        model = with_outputs(server.get(half, type="notebook"))
        server.call("PUT", half, model)
        assert git(server.root, "status", "--porcelain") == "", half  # saved without an edit: no noise
    model = with_outputs(server.get("book/first.md", type="notebook"))
    model["content"]["cells"][0]["source"] += "\n\nAdded in the lab."
    saved = server.call("PUT", "book/first.md", model)
    again = server.get("book/first.md", content=0, type="notebook")
    assert saved["last_modified"] == again["last_modified"]  # else the lab says that the file changed on disk
    lines = [line for line in git(server.root, "diff", "-U0").splitlines() if line[:1] in "+-"]
    assert [line for line in lines if not line.startswith(("+++", "---"))] == [
        '-    "A sentence."',
        '+    "A sentence.\\n",',
        '+    "\\n",',
        '+    "Added in the lab."',
        "+Added in the lab.",
        "+",
    ]
    assert state(pair).settled
    # a text edited elsewhere is what the next opening shows, however old its time stamp is
    for stamp, word in ((OLD, "older"), (NEW, "newer")):
        edit_text(pair, "Added in the lab.", f"Added in the lab. An {word} text.")
        os.utime(pair.text, (stamp, stamp))
        opened = server.get("book/first.ipynb", type="notebook")
        assert f"An {word} text." in opened["content"]["cells"][0]["source"]
        assert state(pair).settled


def test_jupyterlab_loses_no_edit_silently(server: Server) -> None:
    pair = Pair(server.root, "first")
    for stamp in (OLD, NEW):
        model = with_outputs(server.get("book/first.ipynb", type="notebook"))
        model["content"]["cells"][0]["source"] += "\n\nIn the lab."
        edit_text(pair, "A sentence.", f"A sentence. {stamp}")
        os.utime(pair.text, (stamp, stamp))
        assert "book/first.md was edited outside this window" in refusal(server, "PUT", "book/first.ipynb", model)
        assert str(stamp) in pair.text.read_text()
        assert str(stamp) in json.dumps(server.get("book/first.ipynb", type="notebook"))  # reload: the text's edit
    edit_text(pair, "A sentence.", "One.")
    edit_notebook(pair, "Two.")
    assert "both were edited" in refusal(server, "GET", "book/first.ipynb?type=notebook")
    assert "One." in pair.text.read_text()
    assert "Two." in pair.notebook.read_text()


def test_jupyterlab_opens_other_files(server: Server) -> None:
    page = server.get("book/plain.md")
    assert (page["type"], page["content"][:7]) == ("file", "# Plain")
    text = server.get("book/first.md", type="file", format="text")
    body = {"type": "file", "format": "text", "content": text["content"].replace("A sentence.", "As text.")}
    server.call("PUT", "book/first.md", body)  # a chapter edited as text: its notebook follows
    assert "As text." in Pair(server.root, "first").notebook.read_text()
    assert [item["name"] for item in server.get("book")["content"] if item["name"].startswith("first")]
