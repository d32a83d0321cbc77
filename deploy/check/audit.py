"""Known vulnerabilities in what the image installs and in this environment; part of `make check`.

    python -m deploy.check.audit

pip-audit asks PyPI's database, and where that does not know the packages (a mirror has the files
alone) OSV's. Ends with 1 where something is found, or where pip-audit itself does not work. Where
no database can be reached, or one does not know a package, it says so and goes on: what was not
looked at is never called safe.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Final

from deploy.check.tools import ROOT

IMAGE: Final = tuple(sorted((ROOT / "deploy/image").glob("*.txt")))
OSV: Final = "https://api.osv.dev/v1/query"
# a vulnerability's id: why it does not concern this project, and since when that is known
ACCEPTED: Final[Mapping[str, str]] = {}
_SECONDS: Final = 15  # for one answer of a database
# how pip-audit says that the network, or the database, fails
_NETWORK: Final = re.compile(
    r"^(requests|urllib3)\.exceptions\.|^pip_audit\.\S*(Connection|Service)Error"
    r"|^ERROR:\S+:(Could not connect to|PyPI is not redirecting)"
)

Packages = Sequence[Mapping[str, Any]]


class AuditError(Exception):
    """pip-audit is missing, or refuses what it was asked."""


@dataclass(frozen=True)
class Database:
    """One of those that pip-audit can ask."""

    name: str
    flags: tuple[str, ...]


def databases(osv_url: str = OSV) -> tuple[Database, ...]:
    """In the order in which they are asked."""
    return (
        Database("PyPI", ("--vulnerability-service", "pypi")),
        Database("OSV", ("--vulnerability-service", "osv", "--osv-url", osv_url)),
    )


def audit(asked: Sequence[Database], sources: Mapping[str, tuple[str, ...]]) -> bool:
    """Whether nothing was found; prints a line for each source, and what was found."""
    database = _reachable(asked)
    if database is None:
        names = " or ".join(one.name for one in asked)
        print(f"audit: NOT DONE: no database of vulnerabilities can be reached here ({names}).")
        return True
    sound = [_source(database, name, flags) for name, flags in sources.items()]  # all are said
    return all(sound)


def _reachable(asked: Sequence[Database]) -> Database | None:
    """The first that knows the packages of the shortest list."""
    shortest = min(IMAGE, key=lambda path: path.stat().st_size)
    for database in asked:
        found = packages(database, ("--requirement", str(shortest), "--disable-pip"))
        if found and not any("skip_reason" in one for one in found):
            return database
    return None


def packages(database: Database, flags: tuple[str, ...]) -> Packages | None:
    """What pip-audit says of each package; None where the database did not answer.

    Raises AuditError where that is not the network's fault.
    """
    ignored = [word for one in ACCEPTED for word in ("--ignore-vuln", one)]
    command = [sys.executable, "-m", "pip_audit", "--format", "json", "--desc", "off",
               "--progress-spinner", "off", "--timeout", str(_SECONDS), *database.flags, *flags,
               *ignored]  # fmt: skip
    try:
        done = subprocess.run(
            command, capture_output=True, cwd=ROOT, check=False, timeout=600, text=True
        )
    except subprocess.TimeoutExpired:
        return None
    try:
        found: Packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        return _unanswered(done.stderr)
    return found


def _unanswered(stderr: str) -> None:
    lines = stderr.strip().splitlines() or ["it says nothing"]
    said = next((line for line in lines if line.startswith("ERROR:")), lines[-1])
    if not _NETWORK.search(said):
        raise AuditError(f"pip-audit gives no answer: {said}")


def _source(database: Database, name: str, flags: tuple[str, ...]) -> bool:
    found = packages(database, flags)
    if found is None:
        print(f"audit: NOT DONE: {name}: {database.name} stopped answering.")
        return True
    unknown = [one["name"] for one in found if "skip_reason" in one]
    bad = [one for one in found if one.get("vulns")]
    known = len(found) - len(unknown)
    print(f"audit: {name}: {known} packages asked of {database.name}, {len(bad)} vulnerable")
    if unknown:
        print(f"       not looked at, unknown there: {', '.join(unknown)}")
    for one in bad:
        for fault in one["vulns"]:
            mended = ", ".join(fault["fix_versions"]) or "no version yet"
            print(f"       {one['name']} {one['version']}: {fault['id']}, mended in {mended}")
    return not bad


def everything() -> dict[str, tuple[str, ...]]:
    """What is looked at, and pip-audit's flags for it."""
    pinned = {
        str(path.relative_to(ROOT)): ("--requirement", str(path), "--disable-pip") for path in IMAGE
    }
    return {**pinned, "this environment": ("--local", "--skip-editable")}


def main() -> None:
    """Audit; exit status 1 where something is found, or pip-audit does not work."""
    if find_spec("pip_audit") is None:
        sys.exit("audit: pip-audit is not installed: pip install -e '.[dev]'")
    try:
        sound = audit(databases(), everything())
    except AuditError as error:
        sys.exit(f"audit: {error}")
    if not sound:
        sys.exit("Take a newer version (`make lock` for the image), or name the id and the reason "
                 "in ACCEPTED of deploy/check/audit.py.")  # fmt: skip


if __name__ == "__main__":
    main()
