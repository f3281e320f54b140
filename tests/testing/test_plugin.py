"""The pytest plugin, as a project that knows nothing of ours uses it: each test here is a pytest run of its own."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from keystead.testing.faults import FAULTS
from tests.testing.nested import run_tests

if TYPE_CHECKING:
    from pathlib import Path

LAZY = """
import sys

def test_nothing_is_imported():
    ours = {name for name in sys.modules if name.partition(".")[0] == "keystead"}
    assert ours == {"keystead", "keystead.testing", "keystead.testing.plugin"}
"""

SHARED = """
import time

from netapp_ontap import config
from netapp_ontap.resources import KeyServer, SecurityKeyManager

import pytest

seen = []


def states(svm):
    found = KeyServer.get_collection(svm.key_manager, fields="connectivity.node_states.state")
    return [server.connectivity.node_states[0].state for server in found]


def await_states(svm, *expected):
    until = time.monotonic() + 60
    while states(svm) != list(expected):
        assert time.monotonic() < until, states(svm)
        time.sleep(0.05)


def test_the_official_client_is_connected(svm, keystead, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/dev/null")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    (manager,) = SecurityKeyManager.get_collection(**{"svm.name": svm.name})
    assert manager.uuid == svm.key_manager
    assert config.CONNECTION.origin == keystead.url
    seen.append((keystead.url, svm.name))


def test_faults_are_noticed_while_the_test_waits(svm, key_servers, keystead):
    available, lost = "available", "not_responding"
    await_states(svm, *[available] * 4)
    key_servers[1].break_("expired")
    await_states(svm, available, lost, available, available)
    volume_keys = f"/security/key-managers/{svm.key_manager}/volume-keys"
    keystead.call("POST", volume_keys, {"name": "vol1"})
    assert [server.objects > 0 for server in key_servers] == [True, False, True, True]
    seen.append((keystead.url, svm.name))


def test_faults_end_with_their_test(svm, keystead, key_servers):
    await_states(svm, *["available"] * 4)
    assert len({server.ca for server in key_servers}) == len(key_servers) == 4
    seen.append((keystead.url, svm.name))


def test_the_service_is_shared_and_the_svms_are_not():
    urls, names = zip(*seen)
    assert len(set(urls)) == 1
    assert len(set(names)) == 3


def test_a_fresh_service_is_empty(fresh_svm, fresh_keystead, keystead):
    assert fresh_keystead.url != keystead.url
    assert [each.uuid for each in SecurityKeyManager.get_collection()] == [fresh_svm.key_manager]


def test_afterwards_the_shared_one_is_connected(keystead):
    assert config.CONNECTION.origin == keystead.url


@pytest.mark.parametrize("number", range(2))
def test_svms_are_deleted_or_watched_seldom(keystead, number):
    watched = [
        manager for manager in SecurityKeyManager.get_collection(fields="monitor_interval")
        if getattr(manager, "monitor_interval", None) != 86400
    ]
    assert watched == []
    assert len(list(SecurityKeyManager.get_collection())) == 1  # of the test that made a key
"""

WORKERS = """
import time

import pytest

@pytest.mark.parametrize("number", range(4))
def test_each_worker_has_its_own(keystead, svm, number, worker_id):
    assert [m["svm"]["name"] for m in keystead.call("GET", "/security/key-managers", fields="svm")["records"]]
    print(f"{worker_id} uses {keystead.url}")
"""

FAULTY = """
import pytest

from keystead.testing.faults import FAULTS


@pytest.mark.parametrize("fault", FAULTS)
def test_all_servers_are_broken(svm, key_servers, fault):
    for server in key_servers:
        server.break_(fault)


def test_nothing_is_left(keystead):
    assert keystead.call("GET", "/security/key-managers")["records"] == []
    assert keystead.call("GET", "/svm/svms", name="svm_*")["records"] == []
"""

WITHOUT_CLIENT = """
import sys

sys.modules["netapp_ontap"] = None


def test_it_serves_without_the_official_client(keystead, svm):
    (found,) = keystead.call("GET", "/svm/svms", name=svm.name)["records"]
    assert found["uuid"] == svm.uuid
"""


def test_nothing_is_imported_before_a_fixture_is_used(tmp_path: Path) -> None:
    """A project that does not use the fixtures pays nothing for them."""
    (tmp_path / "test_lazy.py").write_text(LAZY)
    done = run_tests(tmp_path)
    assert "1 passed" in done.stdout, done.stdout


def test_fixtures(tmp_path: Path) -> None:
    """One service for the session; SVMs and faults of each test; the official client is connected."""
    (tmp_path / "test_shared.py").write_text(SHARED)
    done = run_tests(tmp_path)
    assert "8 passed" in done.stdout, done.stdout


def test_no_fault_keeps_an_svm(tmp_path: Path) -> None:
    """Whatever a test did to its key servers, its SVM is deleted after it."""
    (tmp_path / "test_faulty.py").write_text(FAULTY)
    done = run_tests(tmp_path)
    assert f"{len(FAULTS) + 1} passed" in done.stdout, done.stdout


def test_without_the_official_client(tmp_path: Path) -> None:
    (tmp_path / "test_plain.py").write_text(WITHOUT_CLIENT)
    done = run_tests(tmp_path)
    assert "1 passed" in done.stdout, done.stdout


def test_each_worker_has_a_service(tmp_path: Path) -> None:
    """Under pytest-xdist two workers never share a service."""
    (tmp_path / "test_workers.py").write_text(WORKERS)
    done = run_tests(tmp_path, "-n", "2")
    assert "4 passed" in done.stdout, done.stdout
    used = set(re.findall(r"^(gw\d) uses (\S+)$", done.stdout, re.MULTILINE))
    assert len(used) == len({worker for worker, _ in used}) == len({url for _, url in used}) == 2
