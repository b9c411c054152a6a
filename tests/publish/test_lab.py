"""JupyterLab is told, wherever it is started in this environment, to go by content."""

from __future__ import annotations

import json

from conftest import ROOT

from lintrans.publish import lab


def test_the_environments_configuration_names_our_contents_manager() -> None:
    settings = json.loads((ROOT / "lintrans" / "publish" / "lab.json").read_text())
    module, _, name = settings["ServerApp"]["contents_manager_class"].rpartition(".")
    assert module == lab.__name__
    assert getattr(lab, name) is lab.ChapterContents
    assert "lintrans/publish/lab.json .venv/etc/jupyter/jupyter_server_config.json" in (ROOT / "Makefile").read_text()
