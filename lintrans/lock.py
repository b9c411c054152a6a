"""Checks that ``requirements.lock`` is in step with ``pyproject.toml``, without a network."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

OWN = "lintrans (pyproject.toml)"


def problems(root: Path) -> list[str]:
    """What is out of step, one line each; empty if nothing is.

    Every requirement of the project and of the extras that are locked must be pinned to a version that satisfies it,
    and every pin that the lock says comes from ``pyproject.toml`` must be asked for there.
    """
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    settings = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))
    project, locked = settings["project"], settings.get("tool", {}).get("pip-tools", {}).get("extra", [])
    extras = [lines for name, lines in project.get("optional-dependencies", {}).items() if name in locked]
    wanted = [Requirement(line) for line in [*project["dependencies"], *(line for extra in extras for line in extra)]]
    pins, direct = read(root / "requirements.lock")
    found = []
    for requirement in wanted:
        pin = pins.get(canonicalize_name(requirement.name))
        if pin is None:
            found.append(f"{requirement.name} is in pyproject.toml and not in requirements.lock")
        elif not requirement.specifier.contains(pin, prereleases=True):
            found.append(f"{requirement} in pyproject.toml is not met by the locked {pin}")
    names = {canonicalize_name(requirement.name) for requirement in wanted}
    found += [f"{name} is locked as a requirement of pyproject.toml, which does not name it" for name in direct - names]
    local = [(name, pin) for name, pin in pins.items() if "+" in pin]
    found += [f"{name} is pinned to {pin}, a build of one machine: leave out what follows the +" for name, pin in local]
    return sorted(found)


def read(path: Path) -> tuple[dict[str, str], set[str]]:
    """The pins of a lock file, and the names of those that pyproject.toml asks for itself."""
    from packaging.utils import canonicalize_name

    pins: dict[str, str] = {}
    direct = set()
    name = ""
    for line in path.read_text("utf-8").splitlines():
        pin = re.match(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?==(\S+)", line)
        if pin:
            name = str(canonicalize_name(pin[1]))
            pins[name] = pin[2]
        elif OWN in line:
            direct.add(name)
    return pins, direct
