"""How long `import lintrans` takes beyond the torch and pandas that it needs.

    python -m benchmarks.import_time [ROUNDS]

Both alternate, each in a new Python; seconds of the processor bear a busy machine better than those of the clock.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time

NEEDED = "import torch, pandas"
CODES = {NEEDED: NEEDED, "import lintrans": f"{NEEDED}, lintrans"}


def seconds(code: str) -> tuple[float, float]:
    """Seconds of a new Python, by the clock and of the processor."""
    began, before = time.perf_counter(), os.times()
    subprocess.run([sys.executable, "-c", code], check=True)
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - began, used


def main(rounds: int = 7) -> None:
    """Print medians and minima over rounds, after one that fills the caches of files."""
    times = [[seconds(code) for code in CODES.values()] for _ in range(rounds + 1)][1:]
    print(f"{'seconds':20}  {'clock: median':>14}  least  {'processor: median':>18}  least")
    rows = {name: list(zip(*(each[i] for each in times), strict=True)) for i, name in enumerate(CODES)}
    (_, needed), (_, all_of_it) = rows.items()
    rows["difference"] = [
        tuple(b - a for a, b in zip(*pair, strict=True)) for pair in zip(needed, all_of_it, strict=True)
    ]
    for name, (clock, used) in rows.items():
        numbers = statistics.median(clock), min(clock), statistics.median(used), min(used)
        print("{:20}  {:14.2f}  {:5.2f}  {:18.2f}  {:5.2f}".format(name, *numbers))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
