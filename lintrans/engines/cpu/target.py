"""The processor that loops are compiled for: the same on all of today's x86-64, so that numbers are the same, too.

Which products and sums become one fused operation, and so the last bit of a result, depends on the processor that the
compiler has in mind. Deep runs are chaotic: a last bit can turn a verdict.
"""

from __future__ import annotations

import numba
from llvmlite import binding

NAME = "znver2"
"""Whose speeds the compiler goes by, in LLVM's names, where there are all of :data:`FEATURES`.

Measured on a Zen 4, one thread: a prompt's gradient at L = 8, d = 20 takes 23 us by it, 24 by "haswell" or "x86-64-v3",
25 to 29 by "znver3", and 64 by what the machine itself is, with its 64-byte registers; one of softmax attention at
L = 3, d = 5 takes 1.8, 3.6, 3.6 to 5.9 and 3.9 us.
"""

FEATURES = ("avx", "avx2", "bmi", "bmi2", "cx16", "f16c", "fma", "lzcnt", "movbe", "popcnt", "sse4.2", "xsave")
"""What code may use: x86-64-v3, in processors since 2013 (Intel) and 2015 (AMD), without AMD's own sse4a."""


def choose() -> None:
    """Have numba compile for :data:`NAME`, unless the user named a processor (``$NUMBA_CPU_NAME``).

    Where features are missing, code is compiled for the machine itself. Of no effect where this process has functions
    of numba's already.
    """
    if numba.config.CPU_NAME is None and numba.config.CPU_FEATURES is None:
        here = binding.get_host_cpu_features()
        if all(here.get(feature, False) for feature in FEATURES):
            numba.config.CPU_NAME = NAME
            numba.config.CPU_FEATURES = ",".join([*(f"+{feature}" for feature in FEATURES), "-sse4a"])
