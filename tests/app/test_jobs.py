"""Jobs of a ``keystead serve`` process that ends while they run: the next one says what became of them."""

from __future__ import annotations

import contextlib
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from keystead.core import errors
from tests.peers.fault_servers import black_hole
from tests.peers.keystead import create_key_manager, install_certificates

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.peers.fixtures import Pki
    from tests.peers.keystead import Installation, Service

STOP_S = 30


@pytest.fixture
def running_job(installation: Installation, pki: Pki, sound_ports: list[int]) -> Iterator[tuple[Service, str, str]]:
    """Yield a service that runs a job, whose probe is in a black hole; the job's path, and that of its results."""
    with contextlib.ExitStack() as held:
        hole = held.enter_context(black_hole())
        service = held.enter_context(installation.serving())
        call = held.enter_context(service.client())
        certificates = install_certificates(call, pki.client, pki.server_ca)
        servers = [f"127.0.0.1:{port}" for port in sound_ports[:2]]
        path = create_key_manager(call, certificates, *servers)
        records = [{"server": servers[0], "timeout": 7}, {"server": servers[1], "port": hole}]
        answer = call("PATCH", f"{path}?return_timeout=1", {"records": records})
        assert answer.status == 202, answer.content
        links = answer.body["job"]["_links"]
        job = links["self"]["href"].removeprefix("/api")
        assert call.get(job)["message"] == errors.RECORDS_DONE.text.format(done=1, all=2)
        yield service, job, links["results"]["href"].removeprefix("/api")


def after_restart(installation: Installation, job: str, results: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Serve again, and return the job and its results."""
    with installation.serving() as service, service.client() as call:
        return call.get(job), call.get(results)


def assert_interrupted(job: dict[str, Any], results: dict[str, Any]) -> None:
    """The job failed because its node stopped."""
    assert (job["state"], job["code"]) == ("failure", errors.JOB_INTERRUPTED.code)
    assert job["message"] == errors.JOB_INTERRUPTED.text
    assert job["end_time"] >= job["start_time"]
    assert [error["message"] for error in results["errors"]] == [errors.JOB_INTERRUPTED.text]


def test_a_killed_process_leaves_a_job_that_failed(
    installation: Installation, running_job: tuple[Service, str, str]
) -> None:
    """SIGKILL: the job says that it was interrupted, and so do its results."""
    service, job, results = running_job
    service.kill()
    assert_interrupted(*after_restart(installation, job, results))


def test_a_stop_ends_a_job(installation: Installation, running_job: tuple[Service, str, str]) -> None:
    """SIGTERM: the probe ends, nothing more is changed, and the job says so within the time of a stop."""
    service, job, results = running_job
    started = time.monotonic()
    service.signal(signal.SIGTERM)
    assert service.wait(STOP_S) == 0
    assert time.monotonic() - started < STOP_S
    assert_interrupted(*after_restart(installation, job, results))
