"""Kernels that are copies of this process, which has imported everything: a chapter begins five seconds earlier.

Each chapter has a process of its own, as always. On Linux that can be a fork of the one that executes chapters, instead
of a new Python that imports PyTorch, SciPy, pandas and Matplotlib once more. Copies have no threads but one, so this is
for a process that has started none, in the environment that kernels need, as ``make book`` starts it. :func:`ready`
tells, and otherwise Jupyter starts kernels as it always does.
"""

from __future__ import annotations

import asyncio
import contextvars
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from functools import cache
from typing import Any

from ..devices import asked_for_cuda
from .processes import end_with_parent

INLINE = "module://matplotlib_inline.backend_inline"
"""Matplotlib's backend in a notebook; a kernel asks for it before it imports Matplotlib."""

STARTED_WITH = dict(os.environ)
"""The environment before anything here changed it: OpenMP reads its part once, when PyTorch is imported."""


def ready(environment: tuple[tuple[str, str], ...]) -> bool:
    """Import what chapters import, once; whether kernels may be copies of this process from now on.

    Not where it may have threads, not where it lacks a variable that a new Python would begin with, and not once it has
    used CUDA, which no copy could use then.
    """
    return not used_cuda() and _imported(environment) and not used_cuda()


def used_cuda() -> bool:
    """Whether this process has CUDA's driver running: to ask for a device, or how many there are, starts it."""
    torch = sys.modules.get("torch")
    return torch is not None and (torch.cuda.is_initialized() or (torch.version.cuda is not None and asked_for_cuda()))


@cache
def _imported(environment: tuple[tuple[str, str], ...]) -> bool:
    complete = all(STARTED_WITH.get(name) == value for name, value in environment)
    if sys.platform != "linux" or not complete or threading.active_count() > 1 or "numba" in sys.modules:
        return False
    import tqdm.auto  # it looks once whether this is a notebook, and so before there are kernels

    del tqdm
    import ipykernel.kernelapp
    import numba

    from ..paper import figures
    from ..paper.claims import contradictions
    from ..paper.measure import curvature
    from ..paper.second import compare

    del ipykernel, numba, contradictions, compare, figures, curvature
    return True


@cache
def manager() -> type[Any]:
    """The class that starts such kernels, for papermill."""
    from jupyter_client.manager import AsyncKernelManager

    class ForkingManager(AsyncKernelManager):
        """Starts a kernel as a copy of this process."""

        async def _async_launch_kernel(self, kernel_cmd: list[str], **options: Any) -> None:
            provisioner: Any = self.provisioner
            provisioner.process = Copy(
                _serve, os.getpid(), kernel_cmd[kernel_cmd.index("-f") :], options["env"], options.get("cwd")
            )
            provisioner.pid = provisioner.pgid = provisioner.process.pid
            self._reconcile_connection_info(provisioner.connection_info)

        _launch_kernel = _async_launch_kernel

    return ForkingManager


class Copy:
    """A call of a function in a copy of this process, with what Jupyter asks of a ``subprocess.Popen``.

    Its context knows nothing of this one's, where an event loop may be, whose wake-up calls two would take by turns.
    """

    stdin = stdout = stderr = None

    def __init__(self, function: Callable[..., None], *arguments: Any) -> None:
        run = contextvars.Context().run
        self._process = multiprocessing.get_context("fork").Process(target=run, args=(function, *arguments))
        self._process.start()
        self.pid = self._process.pid or 0

    def poll(self) -> int | None:
        """Its exit status; None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int | None:
        self._process.join(timeout)
        return self._process.exitcode

    def send_signal(self, signum: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, signum)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _serve(parent: int, arguments: list[str], environment: dict[str, str], folder: str | None) -> None:
    """In the copy: be a kernel."""
    end_with_parent(parent)
    os.setsid()
    os.environ.clear()
    os.environ.update(environment)
    if folder:
        os.chdir(folder)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    asyncio.set_event_loop(asyncio.new_event_loop())  # the copied one is in use, elsewhere
    import matplotlib
    from ipykernel.kernelapp import launch_new_instance

    matplotlib.rcParams["backend"] = os.environ.setdefault("MPLBACKEND", INLINE)
    launch_new_instance([*arguments, f"--IPKernelApp.parent_handle={parent}"])
