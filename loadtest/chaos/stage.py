"""What is put under load: real services, versions to publish, a load balancer; and how to see them.

On Linux the services share all cores but the last, which is the generator's and the balancer's, so
that what is measured is the service and not the one that measures.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from features.bundle import MANIFEST, Bundle, seal, writing
from features.publish import publish
from loadtest.errors import LoadError

HOST: Final = "127.0.0.1"
START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 40.0
_open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


def free_port() -> int:
    """A port that nothing listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def wait_for(what: str, holds: Callable[[], Any], seconds: float = START_SECONDS) -> None:
    """Look until something holds; raises LoadError where it does not in time."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise LoadError(f"waited {seconds:.0f} s in vain for {what}")
        time.sleep(0.02)


def ended(process: int) -> bool:
    """Whether a process is gone, or waits only for its parent to hear of it."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text(encoding="ascii")
    except OSError:
        return True
    return stat.rpartition(") ")[2].startswith(("Z", "X"))


@contextmanager
def cores(chosen: Sequence[int]) -> Iterator[None]:
    """What is started inside runs on these cores alone, where the system can be told so."""
    if not hasattr(os, "sched_setaffinity") or not chosen:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, chosen)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def shared_out() -> tuple[list[int], list[int]]:
    """The services' cores and the generator's; both are all of them where there is only one."""
    found = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    return (found[:-1], found[-1:]) if len(found) > 1 else (found, found)


class Replica:
    """`psad serve` on a port of its own; flags as settings."""

    def __init__(self, bundle: Path, log: Path, **settings: object) -> None:
        self._bundle, self._log = bundle, log
        self._settings = {"port": free_port(), "api_key": None, "page": None, **settings}
        self.url = f"http://{HOST}:{self._settings['port']}"
        self.process = self._started()

    def _started(self) -> subprocess.Popen[bytes]:
        flags = [
            f"--{name.replace('_', '-')}={value}"
            for name, value in self._settings.items()
            if value is not None
        ]
        environ = {name: value for name, value in os.environ.items() if name[:7] != "RERANK_"}
        words = [sys.executable, "-m", "cli.main", "serve", str(self._bundle), *flags]
        with cores(shared_out()[0]), self._log.open("ab") as log:
            process = subprocess.Popen(words, env=environ | {"OMP_NUM_THREADS": "1"}, stderr=log)
        self.process = process
        wait_for(f"a service at {self.url} (see {self._log})", self._ready_or_ended)
        if process.poll() is not None:
            raise LoadError(f"the service did not start; see {self._log}")
        return process

    def _ready_or_ended(self) -> bool:
        return self.ready() or self.process.poll() is not None

    def again(self) -> None:
        """Start it once more, on the same port."""
        self.process = self._started()

    def get(self, path: str) -> str | None:
        """The text at a path by a new connection; None where there is no answer or an error."""
        try:
            with _open(self.url + path, timeout=5.0) as answer:
                return str(answer.read().decode())
        except (OSError, urllib.error.HTTPError):
            return None

    def ready(self) -> bool:
        """Whether it says so."""
        return self.get("/readyz") is not None

    def info(self) -> dict[str, Any]:
        """/info of whichever worker answers; empty where none does."""
        return json.loads(self.get("/info") or "{}")  # type: ignore[no-any-return]

    def metric(self, begins: str) -> float:
        """The sum of the samples whose line begins so."""
        lines = (self.get("/metrics") or "").splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(begins))

    def workers(self, count: int) -> set[int]:
        """The process ids that answer."""
        found: set[int] = set()

        def all_found() -> bool:
            found.update(filter(None, [self.info().get("process")]))
            return len(found) >= count

        wait_for(f"{count} workers", all_found)
        return found

    def resident(self) -> float:
        """MiB of memory, of the process that was started."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    def cpu_seconds(self) -> float:
        """Processor time so far, of the process that was started."""
        fields = (
            Path(f"/proc/{self.process.pid}/stat").read_text("ascii").rsplit(") ", 1)[1].split()
        )
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def ended(self) -> None:
        """Wait until it has."""
        self.process.wait(STOP_SECONDS)


@contextmanager
def replica(bundle: Path, folder: Path, **settings: object) -> Iterator[Replica]:
    """A service for the time of a block; its log goes to the folder."""
    one = Replica(bundle, folder / "service.log", **settings)
    try:
        yield one
    finally:
        one.signal(signal.SIGINT)
        try:
            one.ended()
        except subprocess.TimeoutExpired:
            one.process.kill()
            one.process.wait()


def versions(source: Bundle, folder: Path, count: int) -> Path:
    """bundles/NAME with versions 1 to `count` of the same model, the first in service."""
    home = folder / "versions"
    shutil.rmtree(home, ignore_errors=True)
    facts = source.manifest.model_dump(exclude={"files", "version"})
    for number in range(1, count + 1):
        with writing(home / str(number)) as version:
            shutil.copytree(source.folder, version, dirs_exist_ok=True)
            (version / MANIFEST).unlink()
            seal(version, version=str(number), **facts)
    publish(home / "1")
    return home


_HAPROXY: Final = """
global
    maxconn 2000
defaults
    mode http
    timeout connect 2s
    timeout client 30s
    timeout server 30s
    retries 0
frontend front
    bind {host}:{port}
    default_backend services
backend services
    balance roundrobin
    option httpchk GET /readyz
    default-server inter 200ms fall 2 rise 2
{servers}
"""


@contextmanager
def balancer(replicas: Sequence[Replica], folder: Path) -> Iterator[str]:
    """HAProxy before the replicas, asking /readyz of each five times a second; its address.

    It sends nothing a second time: what reaches a port that is closed comes back as 503.
    Raises LoadError where it is not installed.
    """
    if shutil.which("haproxy") is None:
        raise LoadError("HAProxy is not installed (apt install haproxy)")
    port = free_port()
    lines = [f"    server s{n} {one.url[7:]} check" for n, one in enumerate(replicas)]
    file = folder / "haproxy.cfg"
    file.write_text(_HAPROXY.format(host=HOST, port=port, servers="\n".join(lines)), "utf-8")
    with cores(shared_out()[1]), (folder / "haproxy.log").open("wb") as log:
        process = subprocess.Popen(["haproxy", "-f", str(file)], stderr=log, stdout=log)
    try:
        wait_for("HAProxy", lambda: _answers(port), 10.0)
        time.sleep(1.0)  # its first checks
        yield f"http://{HOST}:{port}"
    finally:
        process.terminate()
        process.wait(STOP_SECONDS)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0
