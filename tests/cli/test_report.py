"""``keystead report``: made and fetched over the API; verified offline, with strictness about what is believed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from keystead.cli.report import MOST_SHOWN, not_proven, report
from keystead.core.keys.report import FORMAT, canonical, written
from keystead.sealing.signing import Signer, one_line
from tests.peers.keystead import READY_S, create_key, create_key_manager, install_certificates
from tests.service.worlds.basics import KEYRING

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

    from tests.peers.fixtures import Pki
    from tests.peers.groups import Group
    from tests.peers.keystead import Service

SIGNER, _ = Signer.create(KEYRING)
OTHER, _ = Signer.create(KEYRING)
FAILURE = {"key_id": "0" * 80, "server": "ks1:5696", "result": "missing", "reason": "ITEM_NOT_FOUND"}
REPORT: dict[str, Any] = {
    "format": FORMAT,
    "kind": "reboot_drill",
    "began": "2026-03-01T12:00:00+00:00",
    "ended": "2026-03-01T12:01:00+00:00",
    "cluster": {"uuid": "c", "name": "keystead"},
    "node": {"uuid": "n", "name": "node\u001b[31m"},
    "key_manager": {"uuid": "km", "scope": "svm", "svm": {"uuid": "s", "name": "vs0"}},
    "keys": {"total": 7, "unreadable": 0},
    "servers": [{"server": "ks1:5696", "results": {"proven": 6, "missing": 1}}],
    "failures": {"total": 0, "listed": []},
}


def signed(said: dict[str, Any], purpose: str = FORMAT) -> str:
    """Return a report's file, signed by the cluster."""
    return written(said, SIGNER.public, SIGNER.sign(purpose, canonical(said)))


def run(folder: Path, content: str | bytes, *arguments: str, key: str | None = None) -> Result:
    """Verify a file."""
    file = folder / "report.json"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    command = ["verify", str(file), "--public-key", one_line(SIGNER.public) if key is None else key]
    return CliRunner().invoke(report, [*command, *arguments])


def test_a_report_with_a_good_signature_is_shown(tmp_path: Path) -> None:
    """Status 0, and what it says, without what could steer a terminal."""
    done = run(tmp_path, signed(REPORT))
    assert done.exit_code == 0, done.output
    first, about, totals, *table = done.output.splitlines()
    assert first.endswith("report.json: the signature is good")
    assert about == (
        r"reboot drill of the keys of vs0, by node node\x1b[31m, 2026-03-01T12:00:00+00:00 to 2026-03-01T12:01:00+00:00"
    )
    assert totals == "7 keys, 0 unreadable, 0 failures"
    assert [line.split() for line in table] == [["server", "missing", "proven"], ["ks1:5696", "1", "6"]]


def test_one_of_each(tmp_path: Path) -> None:
    """In words for one."""
    failures = {"total": 21, "listed": [FAILURE] * 21}
    done = run(tmp_path, signed(REPORT | {"keys": {"total": 1, "unreadable": 1}, "failures": failures}))
    assert "\n1 key, 1 unreadable, 21 failures\n" in done.output
    assert done.output.endswith("and 1 failure more\n")


def test_failures_are_shown_up_to_a_limit(tmp_path: Path) -> None:
    """Of the cluster's key manager without a server: no table of servers, some failures, and how many more."""
    manager = {"uuid": "km", "scope": "cluster", "svm": None}
    failures = {"total": 70, "listed": [FAILURE] * 60}
    done = run(tmp_path, signed(REPORT | {"key_manager": manager, "servers": [], "failures": failures}))
    assert done.exit_code == 0, done.output
    assert "of the keys of keystead," in done.output
    assert done.output.count("ITEM_NOT_FOUND") == MOST_SHOWN
    assert done.output.endswith(f"and {70 - MOST_SHOWN} failures more\n")


def test_the_key_may_stand_in_a_file(tmp_path: Path) -> None:
    """PEM or one line; the report may have been reformatted, and come from standard input."""
    (tmp_path / "key.pem").write_text(SIGNER.public)
    (tmp_path / "key.txt").write_text(one_line(SIGNER.public) + "\n")
    compact = json.dumps(json.loads(signed(REPORT)))
    for key in ("key.pem", "key.txt"):
        done = run(tmp_path, compact, "-q", key=str(tmp_path / key))
        assert (done.exit_code, done.output.count("\n")) == (0, 1)
    piped = CliRunner().invoke(report, ["verify", "-", "--public-key", SIGNER.public, "-q"], input=compact)
    assert (piped.exit_code, piped.output) == (0, "-: the signature is good\n")


@pytest.mark.parametrize(
    "content",
    [
        signed(REPORT).replace('"unreadable": 0', '"unreadable": 1'),
        signed(REPORT).replace('"format": ', '"added": 1, "format": '),
        signed(REPORT, "another purpose"),
        written(REPORT, SIGNER.public, OTHER.sign(FORMAT, canonical(REPORT))),
        written(REPORT, SIGNER.public, b""),
    ],
    ids=["changed", "added", "other purpose", "other key", "no signature"],
)
def test_a_report_that_was_not_signed_so_is_refused(tmp_path: Path, content: str) -> None:
    """Status 1, and nothing of what it says."""
    done = run(tmp_path, content)
    assert done.exit_code == 1
    assert "do not trust the report" in done.output
    assert "vs0" not in done.output


def test_the_key_that_the_file_names_is_not_believed(tmp_path: Path) -> None:
    """Anybody can make a key pair and write its public part beside a forged report."""
    forged = written(REPORT, OTHER.public, OTHER.sign(FORMAT, canonical(REPORT)))
    assert run(tmp_path, forged).exit_code == 1
    assert run(tmp_path, forged, key=OTHER.public).exit_code == 0


@pytest.mark.parametrize("content", ["", "{}", b"\xff\xfe", signed(REPORT | {"format": "another"})])
def test_what_is_no_report_is_refused(tmp_path: Path, content: str | bytes) -> None:
    """Status 1, in one line."""
    done = run(tmp_path, content)
    assert done.exit_code == 1
    assert done.output.startswith(f"Error: {tmp_path}/report.json: this is no ")
    assert done.output.count("\n") == 1


def test_what_is_no_key_is_a_usage_error(tmp_path: Path) -> None:
    """Status 2; the text is not quoted: it may be the wrong file."""
    (tmp_path / "binary").write_bytes(b"\xff\xfe secret")
    for key in ("nonsense", str(tmp_path / "binary"), "x" * 5000):
        done = run(tmp_path, signed(REPORT), key=key)
        assert done.exit_code == 2
        assert "--public-key: this is no public key" in done.output
        assert "secret" not in done.output


def test_a_key_file_that_cannot_be_read_is_a_usage_error(tmp_path: Path) -> None:
    """With the reason that the system gives; this file cannot be read from its beginning, by anybody."""
    done = run(tmp_path, signed(REPORT), key="/proc/self/mem")
    assert done.exit_code == 2
    assert done.output.endswith("/proc/self/mem: Input/output error\n")


def test_what_was_not_proven_stands_by_key_server() -> None:
    """Words and numbers, a line for each server that has any; keys without a copy below."""
    listed = [{"key_id": "0" * 80, "server": "", "result": "no_copy", "reason": ""}, FAILURE]
    servers = [{"server": "ks2:5696", "results": {"proven": 7}}, *REPORT["servers"]]
    said = REPORT | {"servers": servers, "failures": {"total": 2, "listed": listed}}
    assert list(not_proven(said)) == ["ks1:5696: 1 missing", "no key server: 1 no_copy"]


def test_verifying_needs_no_service(tmp_path: Path) -> None:
    """What talks to a database or serves is not even loaded."""
    (tmp_path / "report.json").write_text(signed(REPORT))
    (tmp_path / "key.pem").write_text(SIGNER.public)
    code = (
        "import sys; from click.testing import CliRunner; from keystead.cli.report import report;"
        " done = CliRunner().invoke(report, ['verify', 'report.json', '--public-key', 'key.pem', '-q']);"
        " print(done.exit_code, {'sqlalchemy', 'structlog', 'uvicorn', 'keystead.kmip'} & set(sys.modules))"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert ended.stdout == "0 set()\n"


# --- made and fetched over the API ---


@pytest.fixture
def svm(service: Service, pki: Pki, pykmip_group: Group) -> str:
    """Return an SVM that has a key on four key servers."""
    with service.client() as call:
        certificates = install_certificates(call, pki.client, pki.server_ca)
        path = create_key_manager(call, certificates, *(server.address for server in pykmip_group.primaries))
        manager = path.removesuffix("/key-servers")
        key = f"{manager}/volume-keys/{create_key(call, manager, 'a key')['key_id']}?fields=copies"
        until = time.monotonic() + READY_S
        while [copy["presence"] for copy in call.get(key)["copies"]] != 4 * ["present"]:
            assert time.monotonic() < until, call.get(key)
            time.sleep(0.1)
        return str(call.get(manager)["svm"]["name"])


def keystead(environment: dict[str, str], folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command of ``keystead report``."""
    return ended([sys.executable, "-m", "keystead", "report", *words], environment, folder)


def ended(command: list[str], environment: dict[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run any command."""
    return subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, check=False, timeout=180
    )


def test_a_proof_is_made_saved_and_verified(
    svm: str, environment: dict[str, str], folder: Path, service: Service, pykmip_group: Group
) -> None:
    """Status 0 when all is proven, 1 when it is not; what was saved is verified with the key that init showed."""
    sound = keystead(environment, folder, "prove", "--vserver", svm)
    assert (sound.returncode, sound.stderr, len(sound.stdout.splitlines())) == (0, "", 2)
    dead = pykmip_group.primaries[0]
    dead.kill()
    failed = keystead(environment, folder, "prove", "--vserver", svm)
    assert failed.returncode == 1, failed.stderr
    assert failed.stdout.splitlines()[2:] == [f"{dead.address}: 1 unreachable"]
    drill = keystead(environment, folder, "reboot-drill", "--vserver", svm, "-o", "json")
    assert drill.returncode == 0, drill.stderr
    (drilled,) = json.loads(drill.stdout)
    shown = json.loads(keystead(environment, folder, "show", "--vserver", svm, "-o", "json").stdout)
    assert [(each["kind"], each["failures"]) for each in shown] == [("reboot_drill", 0), ("proof", 1), ("proof", 0)]
    assert [each.pop("svm")["name"] for each in shown] == [svm] * 3
    assert drilled == shown[0]
    key = service.installation.run("report", "public-key").stdout.strip()
    for words, uuid in (
        (["newest.json"], shown[0]["uuid"]),
        (["--uuid", shown[1]["uuid"], "one.json"], shown[1]["uuid"]),
        (["--kind", "proof", "proof.json"], shown[1]["uuid"]),
        (["--kind", "reboot-drill", "drill.json"], shown[0]["uuid"]),
    ):
        saved = keystead(environment, folder, "save", "--vserver", svm, *words)
        assert (saved.returncode, saved.stdout, saved.stderr) == (0, "", "")
        verified = keystead({}, folder, "verify", words[-1], "--public-key", key)
        assert verified.returncode == 0, verified.stderr
        assert json.loads((folder / words[-1]).read_text())["report"]["uuid"] == uuid
    check_reports_of_all(environment, folder, service, svm, [each["uuid"] for each in shown])
    no_file_may_grow = ["sh", "-c", 'unset COVERAGE_PROCESS_CONFIG; ulimit -f 0; exec "$@"', "sh"]
    save = [sys.executable, "-m", "keystead", "report", "save", "--vserver", svm]
    full = ended([*no_file_may_grow, *save, "full.json"], environment, folder)
    assert (full.returncode, full.stderr) == (1, "Error: full.json: File too large\n")
    assert not (folder / "full.json").exists()
    assert ended([*save, "-"], environment, folder).stdout == (folder / "newest.json").read_text()
    again = keystead(environment, folder, "save", "--vserver", svm, "newest.json")
    assert (again.returncode, again.stderr.splitlines()[-1]) == (
        2, "Error: newest.json exists: it is not overwritten",
    )  # fmt: skip


def test_whoever_does_not_wait_is_told_that_the_job_goes_on(
    svm: str, environment: dict[str, str], folder: Path, service: Service, pykmip_group: Group
) -> None:
    """By Ctrl-C, while a key server is silent."""
    heeding = ["env", "--default-signal=INT"]  # also where the tests run in the background of a shell
    command = [*heeding, sys.executable, "-m", "keystead", "report", "prove", "--vserver", svm]
    pykmip_group.primaries[0].pause()
    try:
        process = subprocess.Popen(command, env=environment, cwd=folder, stderr=subprocess.PIPE, text=True)
        with service.client() as call:
            while not (running := call.get("/cluster/jobs?state=running")["records"]):
                time.sleep(0.05)
        time.sleep(0.5)  # the command has its job's uuid by now
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=120)
        asked = [asked_of_job(environment, folder, action, running[0]["uuid"]) for action in ("pause", "cancel")]
    finally:
        pykmip_group.primaries[0].resume()
    assert [(each.returncode, each.stderr) for each in asked] == [
        (0, "asked the job to pause: keystead job show\n"),
        (0, "asked the job to cancel: keystead job show\n"),
    ]
    ends = time.monotonic() + 60
    with service.client() as call:
        while (state := call.get(f"/cluster/jobs/{running[0]['uuid']}")["state"]) == "running":
            assert time.monotonic() < ends
            time.sleep(0.1)
    assert state == "failure"
    again = asked_of_job(environment, folder, "resume", running[0]["uuid"])
    refused = "Error 458762: Job is already in a terminal state. (field uuid)\n"
    assert (again.returncode, again.stderr) == (1, refused)
    assert said == f"job {running[0]['uuid']} goes on: `keystead job show` tells how it ends\n"
    assert process.returncode == 130


def asked_of_job(environment: dict[str, str], folder: Path, action: str, uuid: str) -> subprocess.CompletedProcess[str]:
    """Ask a job for an action on the command line."""
    return ended([sys.executable, "-m", "keystead", "job", action, uuid], environment, folder)


def test_a_proof_without_keys(
    environment: dict[str, str], folder: Path, service: Service, pki: Pki, pykmip_group: Group
) -> None:
    """It passes, and says that it proved nothing."""
    with service.client() as call:
        certificates = install_certificates(call, pki.client, pki.server_ca)
        path = create_key_manager(call, certificates, pykmip_group.primaries[1].address)
        svm = str(call.get(path.removesuffix("/key-servers"))["svm"]["name"])
    done = keystead(environment, folder, "prove", "--vserver", svm)
    assert (done.returncode, done.stderr) == (0, "there are no keys: nothing was read\n")


def test_what_there_is_no_report_of(environment: dict[str, str], folder: Path, svm: str) -> None:
    """An SVM without a key manager, a key manager without a report, a report that is none, a file that is none."""
    said = {
        ("show", "--vserver", "nobody"): (1, "Error: there is no SVM nobody"),
        ("prove",): (1, "Error: the cluster has no key manager"),
        ("save", "--vserver", svm, "-"): (1, "Error: there is no report yet: `keystead report prove` makes one"),
        ("save", "--vserver", svm, "--kind", "proof", "-"): (1, "Error: there is no proof yet"),
        ("save", "--uuid", "7", "--kind", "proof", "-"): (2, "Error: --uuid already names one report: "),
        ("save", "--vserver", svm, "--uuid", "7" * 8 + "-7777" * 3 + "-" + "7" * 12, "-"): (1, "Error 4: "),
        ("verify", "absent.json", "--public-key", "x"): (2, "Error: absent.json: No such file or directory"),
    }
    for words, (status, text) in said.items():
        done = keystead(environment, folder, *words)
        assert (done.returncode, done.stdout) == (status, "")
        assert any(line.startswith(text) for line in done.stderr.splitlines()), done.stderr


def check_reports_of_all(
    environment: dict[str, str], folder: Path, service: Service, svm: str, uuids: list[str]
) -> None:
    """Without --vserver the reports of all key managers are listed, the newest first; with it those of one."""
    with service.client() as call:
        installed = call.get("/security/key-managers?fields=external&svm.name=" + svm)["records"][0]["external"]
        external = {
            "client_certificate": {"uuid": installed["client_certificate"]["uuid"]},
            "server_ca_certificates": [{"uuid": each["uuid"]} for each in installed["server_ca_certificates"]],
            "servers": [{"server": installed["servers"][1]["server"]}],
        }
        call.create("/svm/svms", {"name": "reported"})
        call.create("/security/key-managers", {"svm": {"name": "reported"}, "external": external})
    assert keystead(environment, folder, "show", "--vserver", "reported").stderr == "no records\n"
    assert keystead(environment, folder, "prove", "--vserver", "reported").returncode == 0
    told = keystead(environment, folder, "show").stdout.splitlines()
    shown_for = [line.split()[0] for line in told]
    assert [name for name in shown_for if name in {"vserver", "reported", svm}] == ["vserver", "reported", *[svm] * 3]
    assert [line.split()[-1] for line in told if line.split()[0] == svm] == uuids
    missing = keystead(environment, folder, "show", "--vserver", "nobody")
    assert (missing.returncode, missing.stderr) == (1, "Error: there is no SVM nobody\n")
