"""Read by `jupyter lab` when it is started here: chapters open and save as pairs, as under `make lab`."""

c = get_config()  # noqa: F821 - Jupyter's
c.ServerApp.contents_manager_class = "lintrans.lab.ChapterContents"
c.ServerApp.ip = "127.0.0.1"
