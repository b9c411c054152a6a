"""The first lines of the command ``lintrans``: Ctrl-C stops it in one line, also while PyTorch is being imported.

Outside the package, because importing anything of that imports PyTorch first.
"""

from __future__ import annotations

import os
import signal

INTERRUPTED = 130


def _leave(*_: object) -> None:
    os.write(2, b"\nlintrans: stopped before anything was begun\n")
    os._exit(INTERRUPTED)


def main() -> None:
    """Import the command line, which takes a second or two, and run it."""
    endings = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in endings}
    for number, handler in before.items():
        if handler in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _leave)
    from lintrans.publish import cli

    for number, handler in before.items():
        signal.signal(number, handler)
    cli.start()


if __name__ == "__main__":
    main()
