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
from lintrans import cell_warnings

CELL = "/tmp/ipykernel_17/123.py"


@pytest.fixture
def cells() -> dict[str, Any]:
    """The namespace of a chapter's cells."""
    return {"__name__": "__main__"}


def run(code: str, space: dict[str, Any]) -> None:
    """Run a cell where the extension was loaded, under the filters of an ordinary Python."""
    with warnings.catch_warnings():
        cell_warnings.load_ipython_extension(SimpleNamespace(user_ns=space))
        warnings.resetwarnings()
        warnings.filterwarnings("default", category=DeprecationWarning, module="__main__")
        for category in DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning:
            warnings.filterwarnings("ignore", category=category, append=True)
        exec(compile(code, CELL, "exec"), space)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import warnings; warnings.warn('look here')", "look here"),
        ("import warnings; warnings.warn('old', DeprecationWarning)", "old"),
        ("import numpy as np; np.log(np.zeros(1))", "divide by zero"),
        ("import numpy as np; np.var(np.array([np.inf]))", "invalid value"),  # in a file of NumPy's
        ("import numpy as np; np.mean([])", "Mean of empty slice"),
        ("import scipy.stats; scipy.stats.skew([1.0] * 9)", "Precision loss"),
    ],
)
def test_a_cells_own_warning_is_an_error(cells: dict[str, Any], code: str, message: str) -> None:
    with pytest.raises(Warning, match=message):
        run(code, cells)


def test_a_warning_of_this_library_is_an_error(cells: dict[str, Any]) -> None:
    """As of a robust condition number that is infinite."""
    code = f"import warnings; warnings.warn_explicit('infinite', UserWarning, {lintrans.__file__!r}, 1)"
    with pytest.raises(UserWarning, match="infinite"):
        run(code, cells)


INFORMS = {
    "a line": "import sys; print('compiling', file=sys.stderr)",
    "logging": "import logging; logging.getLogger('matplotlib').warning('a temporary folder')",
    "another library": f"import warnings; warnings.warn_explicit('no cache', UserWarning, {torch.__file__!r}, 1)",
    "Python itself": f"import warnings; warnings.warn_explicit('late', RuntimeWarning, {json.__file__!r}, 1)",
    "an import": "import warnings; warnings.warn_explicit('odd', ImportWarning, '<frozen importlib._bootstrap>', 1)",
    "nobody": "import warnings; warnings.warn_explicit('open file', UserWarning, 'sys', 1)",
    "ignored": "import warnings; warnings.warn('open file', ResourceWarning)",
    "recorded": "import warnings\nwith warnings.catch_warnings(record=True) as all: warnings.warn('kept')\nassert all",
    "silenced": "import numpy as np\nwith np.errstate(all='ignore'): np.log(np.zeros(1))",
}


@pytest.mark.parametrize("code", INFORMS.values(), ids=INFORMS)
def test_what_informs_is_no_error(cells: dict[str, Any], code: str) -> None:
    run(code, cells)


def test_arithmetic_counts_only_below_a_cell(cells: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """What a kernel's own machinery does beside the cells is not the chapter's."""
    where = str(Path(scipy.__file__).parent / "stats" / "_some.py")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        cell_warnings.load_ipython_extension(SimpleNamespace(user_ns=cells))
        warnings.warn_explicit("overflow", RuntimeWarning, where, 1)
    assert "RuntimeWarning: overflow" in capsys.readouterr().err
    assert not cell_warnings.counts(cells, RuntimeWarning, where)
    cells.update(check=cell_warnings.counts, kind=RuntimeWarning, where=where)
    exec(compile("found = check(globals(), kind, where)", CELL, "exec"), cells)
    assert cells["found"]


def test_numpy_is_where_it_is_thought_to_be() -> None:
    assert cell_warnings._installed(np.__file__)
    assert not cell_warnings._own(logging.__file__)
    assert cell_warnings._own(CELL)
