"""How soon a broken key server is known: ``python -m bench.detection [WAY ...]``.

Twenty real key servers of five SVMs break at once, in eleven ways. For each server the time is measured from the break
until an event, a Prometheus that scrapes every second, and the API say so. The command line shows what the API says.
Prints a table with the median and the maximum of all three, in seconds. It takes about a quarter of an hour.
"""

from __future__ import annotations

import contextlib
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.table import Table

from tests.peers import prometheus
from tests.peers.certificates import Authority, client
from tests.peers.keystead import Client, Installation, create_key, install_certificates
from tests.peers.processes import free_port
from tests.peers.proxy import Network, proxy

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.peers.prometheus import Prometheus

SVMS: Final = 5
PER_SVM: Final = 4
LOST_S: Final = 10.0
IN_PLACE_S: Final = 70.0
"""The limits: where the connection is lost, and where it lives on (a full probe a minute, and ten seconds)."""

GIVE_UP_S: Final = 170.0


@dataclass
class Broken:
    """Twenty key servers in one process, each behind a proxy."""

    folder: Path
    ports: list[int] = field(default_factory=lambda: [free_port() for _ in range(SVMS * PER_SVM)])
    server_ca: Authority = field(default_factory=Authority)
    client_ca: Authority = field(default_factory=lambda: Authority("Client CA"))
    networks: list[Network] = field(default_factory=list)

    def start(self, issuer: Authority | None = None, **issued: Any) -> None:
        """Start the process; its certificate is of ``issuer``."""
        certificate, key = (issuer or self.server_ca).issue(**issued).write(self.folder, "server")
        ca = self.folder / "client-ca.pem"
        ca.write_text(self.client_ca.pem)
        command = [sys.executable, "-m", "bench.breakable", str(certificate), str(key), str(ca), *map(str, self.ports)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._answer()

    def say(self, line: str) -> None:
        """Break all servers in place."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        self._answer()

    def _answer(self) -> None:
        assert self._process.stdout is not None
        if not self._process.stdout.readline():
            raise RuntimeError("the key servers ended")

    def signal(self, number: int) -> None:
        """Send the process a signal."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """End the process, in whichever state it is."""
        self._process.kill()
        self._process.wait()

    def restart(self, issuer: Authority | None = None, **issued: Any) -> None:
        """End the process and start it again, empty, with another certificate."""
        self.kill()
        self.start(issuer, **issued)

    def fail(self, mode: str) -> None:
        """Have the network of all servers fail."""
        for network in self.networks:
            network.fail(mode)

    def trust_another(self) -> None:
        """Have all servers trust another CA than that of our certificate, in place."""
        other = self.folder / "other-ca.pem"
        other.write_text(Authority("Another CA").pem)
        self.say(f"client-ca {other}")


@dataclass(frozen=True)
class Way:
    """A way to break. ``reasons`` are the words that may be said of it; none if the keys are hidden."""

    do: Callable[[Broken], object]
    limit_s: float
    reasons: tuple[str, ...] = ()
    behind_proxy: bool = False
    ends: timedelta | None = None


_SILENT: Final = ("tls_timed_out", "connect_timed_out")

WAYS: Final = {
    "killed": Way(Broken.kill, LOST_S, ("connection_refused",)),
    "stopped": Way(lambda it: it.signal(signal.SIGSTOP), LOST_S, _SILENT),
    "dropped": Way(lambda it: it.fail("drop"), LOST_S, _SILENT, behind_proxy=True),
    "reset": Way(lambda it: it.fail("reset"), LOST_S, ("connection_closed",), behind_proxy=True),
    "expired certificate": Way(
        lambda _: None, IN_PLACE_S, ("server_certificate_expired",), ends=timedelta(seconds=180)
    ),
    "wrong CA": Way(
        lambda it: it.restart(Authority("Another CA")),
        LOST_S,
        ("server_certificate_issuer_not_found", "server_certificate_self_signed"),
    ),
    "wrong name": Way(lambda it: it.restart(names=("elsewhere.example",)), LOST_S, ("server_certificate_wrong_name",)),
    "our certificate refused": Way(
        Broken.trust_another,
        IN_PLACE_S,
        ("client_certificate_untrusted", "client_certificate_probably_refused", "client_certificate_refused"),
    ),
    "credential refused": Way(
        lambda it: it.say("refuse"),
        IN_PLACE_S,
        ("credential_refused", "operation_not_permitted", "client_certificate_not_registered"),
    ),
    "wiped": Way(Broken.restart, LOST_S),
    "restored from an older copy": Way(lambda it: it.say("forget keys"), IN_PLACE_S),
}


def measured(name: str, way: Way) -> list[tuple[float, float, float]]:
    """Break all servers in one way. Return for each the seconds until event, metric and API said so."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        broken = Broken(Path(folder))
        began = time.monotonic()
        broken.start(ends=way.ends or timedelta(days=10))
        stack.callback(broken.kill)
        proxies = [stack.enter_context(proxy(port)) for port in broken.ports] if way.behind_proxy else []
        broken.networks = [network for _, network in proxies]
        addresses = [f"127.0.0.1:{port}" for port in ([port for port, _ in proxies] or broken.ports)]
        data = Path(folder) / "data"
        service = stack.enter_context(Installation(data).init().serving())
        metrics = stack.enter_context(prometheus.scraping(service, Path(folder) / "prometheus"))
        with service.client() as call:
            _configure(call, broken, addresses)
            _until(lambda: all(seen.get("keys_visible") for seen in _states(call).values()), "all show their keys")
            if way.ends is not None:
                time.sleep(max(0.0, began + way.ends.total_seconds() - time.monotonic()))
                call.close()  # the listener has closed an idle connection; the next call makes another
            else:
                time.sleep(3)
            way.do(broken)
            return _detected(name, way, call, metrics, addresses, time.monotonic())


def _configure(call: Client, broken: Broken, addresses: list[str]) -> None:
    """Make SVMs with four servers each, and keys on them: when several vanish at once, it is the server's fault."""
    own = client(broken.client_ca)
    for number in range(SVMS):
        svm = call.create("/svm/svms", {"name": f"vs{number}"})["name"]
        installed = install_certificates(call, own, broken.server_ca)
        servers = [{"server": each} for each in addresses[number * PER_SVM : (number + 1) * PER_SVM]]
        manager = call.create("/security/key-managers", installed.new_key_manager(servers, svm))["uuid"]
        for name in ("vol1", "vol2", "vol3"):
            create_key(call, f"/security/key-managers/{manager}", name)


def _states(call: Client) -> dict[str, dict[str, Any]]:
    """Return what the node says of each server."""
    found = call.get("/security/key-managers?fields=external.servers.server,external.servers.connectivity")["records"]
    return {
        server["server"]: server["connectivity"]["node_states"][0]
        for manager in found
        for server in manager["external"]["servers"]
    }


def _detected(
    name: str, way: Way, call: Client, metrics: Prometheus, addresses: list[str], began: float
) -> list[tuple[float, float, float]]:
    """Ask until all three say of each server what is wrong."""
    event = "km.keyserver.notavailable" if way.reasons else "km.canary.notvisible"
    metric = "keystead_key_server_available" if way.reasons else "keystead_key_server_keys_visible"
    times: dict[str, list[float | None]] = {address: [None, None, None] for address in addresses}
    while any(None in each for each in times.values()):
        if time.monotonic() - began > GIVE_UP_S:
            raise RuntimeError(f"{name}: not known after {GIVE_UP_S:.0f} s: {_states(call)}")
        announced = {
            parameters["address"]
            for record in call.get(f"/support/ems/events?fields=*&message.name={event}&max_records=10000")["records"]
            if (parameters := {each["name"]: each["value"] for each in record["parameters"]})
            and (not way.reasons or parameters["reason"] in way.reasons)
        }
        shown = {labels["key_server"] for labels in metrics.query(f"{metric} == 0")}
        states = _states(call)
        said = {
            address
            for address, state in states.items()
            if (state.get("reason") in way.reasons if way.reasons else state.get("keys_visible") is False)
        }
        now = time.monotonic() - began
        for place, found in enumerate((announced, shown, said)):
            for address in found & times.keys():
                if times[address][place] is None:
                    times[address][place] = now
        time.sleep(0.05)
    return [(one or 0.0, two or 0.0, three or 0.0) for one, two, three in times.values()]


def _until(holds: Callable[[], bool], what: str) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + GIVE_UP_S
    while not holds():
        if time.monotonic() > end:
            raise RuntimeError(f"not within {GIVE_UP_S:.0f} s: {what}")
        time.sleep(0.2)


def main() -> None:
    """Measure the ways that are named, or all."""
    if prometheus.MISSING:
        raise SystemExit(f"bench.detection: there is no {prometheus.MISSING} on this machine")
    console = Console()
    drawn = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("way", "trials", "median", "maximum", "limit"):
        drawn.add_column(column)
    for name in sys.argv[1:] or WAYS:
        way = WAYS[name]
        times = [max(each) for each in measured(name, way)]
        cells = f"{statistics.median(times):.1f} s", f"{max(times):.1f} s", f"{way.limit_s:.0f} s"
        drawn.add_row(name, str(len(times)), *cells)
        console.print(f"{name}: median {cells[0]}, maximum {cells[1]}, limit {cells[2]}")
    console.print(drawn)


if __name__ == "__main__":
    os.environ.pop("KEYSTEAD_PASSWORD", None)
    main()
