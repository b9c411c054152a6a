"""Which warnings a chapter answers for: by Python's machinery, and not by what is written to stderr."""

from __future__ import annotations

import json
import logging
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy
import torch

import lintrans
from lintrans.publish import cell_warnings

CELL = "/tmp/ipykernel_17/123.py"


@pytest.fixture
def cells() -> dict[str, Any]:
    """The namespace of a chapter's cells."""
    return {"__name__": "__main__"}


def marks(code: str, space: dict[str, Any], filename: str = CELL) -> list[str]:
    """Run a cell where the extension was loaded, under the filters of an ordinary Python: the warnings that count."""
    found: list[str] = []
    publisher = SimpleNamespace(publish=lambda data, metadata: found.append(data[cell_warnings.MARK]))
    with warnings.catch_warnings():
        warnings.resetwarnings()
        warnings.filterwarnings("default", category=DeprecationWarning, module="__main__")
        for category in DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning:
            warnings.filterwarnings("ignore", category=category, append=True)
        warnings.showwarning = lambda *shown: None
        cell_warnings.load_ipython_extension(SimpleNamespace(user_ns=space, display_pub=publisher))
        exec(compile(code, filename, "exec"), space)
    return found


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import warnings; warnings.warn('look here')", "look here"),
        ("import warnings; warnings.warn('old', DeprecationWarning)", "old"),
        ("import numpy as np; np.log(np.zeros(1))", "divide by zero"),
        ("import numpy as np; np.var(np.array([np.inf]))", "invalid value"),  # in a file of NumPy's
        ("import numpy as np; np.mean([])", "Mean of empty slice"),
        ("import numpy as np\ntry:\n    np.exp(np.array([1e5]))\nexcept Exception:\n    pass", "overflow"),
        (
            "import threading as t, warnings as w\nx = t.Thread(None, lambda: w.warn('aside'))\nx.start(); x.join()",
            "aside",
        ),
        ("import warnings; exec(compile('warnings.warn(\"timed\")', '<timed exec>', 'exec'))", "timed"),
        ("""print(len('\\d'))""", "invalid escape"),
        ("import scipy.stats; scipy.stats.skew([1.0] * 9)", "Precision loss"),
    ],
)
def test_a_cells_own_warning_counts(cells: dict[str, Any], code: str, message: str) -> None:
    first, *_ = marks(code, cells)
    assert message in first


def test_a_warning_of_this_library_counts(cells: dict[str, Any]) -> None:
    """As of a robust condition number that is infinite."""
    code = f"import warnings; warnings.warn_explicit('infinite', UserWarning, {lintrans.__file__!r}, 1)"
    assert marks(code, cells) == ["UserWarning: infinite"]


def test_one_that_did_not_count_hides_none_that_does(cells: dict[str, Any]) -> None:
    """Python shows a warning once a place, whoever caused it."""
    code = """
import concurrent.futures, numpy as np
with concurrent.futures.ThreadPoolExecutor(1) as pool:
    pool.submit(np.mean, []).result()
"""
    assert marks(code, cells) == []
    assert marks(code + "np.mean([])\nnp.mean([])", cells) == [
        "RuntimeWarning: Mean of empty slice", "RuntimeWarning: invalid value encountered in scalar divide",
    ]  # fmt: skip


INFORMS = {
    "a line": "import sys; print('compiling', file=sys.stderr)",
    "logging": "import logging; logging.getLogger('matplotlib').warning('a temporary folder')",
    "another library": f"import warnings; warnings.warn_explicit('no cache', UserWarning, {torch.__file__!r}, 1)",
    "Debian's": "import warnings; warnings.warn_explicit('no', UserWarning, '/usr/lib/python3/dist-packages/b.py', 1)",
    "Python itself": f"import warnings; warnings.warn_explicit('late', RuntimeWarning, {json.__file__!r}, 1)",
    "an import": "import warnings; warnings.warn_explicit('odd', ImportWarning, '<frozen importlib._bootstrap>', 1)",
    "nobody": "import warnings; warnings.warn_explicit('open file', UserWarning, 'sys', 1)",
    "ignored": "import warnings; warnings.warn('open file', ResourceWarning)",
    "recorded": "import warnings\nwith warnings.catch_warnings(record=True) as all: warnings.warn('kept')\nassert all",
    "silenced": "import numpy as np\nwith np.errstate(all='ignore'): np.log(np.zeros(1))",
}


@pytest.mark.parametrize("code", INFORMS.values(), ids=INFORMS)
def test_what_informs_does_not_count(cells: dict[str, Any], code: str) -> None:
    assert marks(code, cells) == []


def test_arithmetic_counts_only_below_a_cell(cells: dict[str, Any]) -> None:
    """What a kernel's own machinery does beside the cells is not the chapter's."""
    where = str(Path(scipy.__file__).parent / "stats" / "_some.py")
    assert not cell_warnings.counts(cells, RuntimeWarning, where)
    cells.update(check=cell_warnings.counts, kind=RuntimeWarning, where=where)
    exec(compile("found = check(globals(), kind, where)", CELL, "exec"), cells)
    assert cells["found"]


def test_numpy_is_where_it_is_thought_to_be() -> None:
    assert cell_warnings._installed(np.__file__)
    assert not cell_warnings._own(logging.__file__)
    assert not cell_warnings._own(np.__file__)
    assert cell_warnings._own(CELL)
