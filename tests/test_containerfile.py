"""The ``Containerfile``: it is linted, its service is no root, and its health check knows health from its absence."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.peers.processes import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.peers.keystead import Service

ROOT = Path(__file__).parents[1]
FILE = ROOT / "Containerfile"
PAGE = ROOT / "docs" / "how-to" / "container.md"
BUILD, FINAL = FILE.read_text().split("\nFROM ")[1:]
HADOLINT = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")


@pytest.mark.skipif(HADOLINT is None, reason="hadolint is not installed; ./dev setup installs it where it exists")
def test_it_is_linted() -> None:
    assert HADOLINT is not None
    done = subprocess.run([HADOLINT, FILE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_build_has_what_it_copies() -> None:
    """What is copied is there and passes ``.containerignore``, and nothing is installed without a hash."""
    copied = [word for line in re.findall(r"^COPY (.*)$", BUILD, re.MULTILINE) for word in line.split()[:-1]]
    let_through = {line.removeprefix("!") for line in (ROOT / ".containerignore").read_text().split() if line[0] == "!"}
    assert copied
    assert all((ROOT / each).exists() for each in copied)
    assert {each.partition("/")[0] for each in copied} == let_through
    installs = re.findall(r"pip install (.*)", BUILD)
    assert all("--require-hashes" in each or "--no-index" in each for each in installs)


def test_it_runs_as_nobody_in_particular() -> None:
    """The last stage begins no process as root, and names the data directory that the user owns."""
    assert re.search(r"^USER 10001:10001$", FINAL, re.MULTILINE)
    (data,) = re.findall(r"KEYSTEAD_DATA=(\S+)", FINAL)
    assert f"VOLUME {data}\n" in FINAL
    assert re.search(rf"install --directory --owner keystead .*--mode 0700 {data}$", FINAL, re.MULTILINE)


def test_the_page() -> None:
    """It keeps the health check, starts nothing with a writable root, and names commands that there are."""
    commands = re.findall(r"^\$ (podman .*)$", PAGE.read_text().replace(" \\\n", ""), re.MULTILINE)
    assert "podman build --format docker -t keystead ." in commands
    runs = [each for each in commands if each.startswith("podman run ")]
    assert all(" --read-only --tmpfs /tmp " in each for each in runs)
    started = {each.rpartition(" keystead")[2].split(" -")[0].strip() for each in runs}
    assert started == {"", "init", "db upgrade", "demo"}


def test_the_health_check(shared_service: Service) -> None:
    """It succeeds for a service that answers, and fails where none listens."""
    (text,) = re.findall(r"^HEALTHCHECK .*\\\n +CMD (\[.*\])$", FINAL, re.MULTILINE)
    for port, healthy in ((shared_service.port, True), (free_port(), False)):
        _, *arguments = json.loads(text.replace(":8443/", f":{port}/"))
        done = subprocess.run([sys.executable, *arguments], capture_output=True, check=False)
        assert (done.returncode == 0) is healthy, done


CONTAINER = """
mount --bind "$1" "$1"
mount --bind "$2" "$1/var/lib/keystead"
mount -t tmpfs tmpfs "$1/tmp"
mount -t proc proc "$1/proc"
mount --rbind /dev "$1/dev"
mount -o remount,bind,ro "$1"
root=$1 user=$3
shift 3
exec chroot --userspec="$user" "$root" env -i -C /var/lib/keystead "$@"
"""
"""What a container engine does with an image: root, data directory, user, then variables and a command."""


class Image:
    """The image, built on a root of Debian with its Python, which stands for the base that ``FROM`` names."""

    def __init__(self, folder: Path) -> None:
        storage = folder / "storage.conf"
        storage.write_text(f'[storage]\ndriver = "vfs"\ngraphroot = "{folder}/storage"\nrunroot = "{folder}/run"\n')
        self._environment = os.environ | {"CONTAINERS_STORAGE_CONF": str(storage), "BUILDAH_ISOLATION": "chroot"}
        base = folder / "base"
        base.mkdir()
        packages = "python3-venv,python-is-python3"
        self._run("mmdebstrap", "--quiet", "--variant=minbase", f"--include={packages}", "trixie", f"{base}/root.tar")
        (base / "Containerfile").write_text("FROM scratch\nADD root.tar /\n")
        self._build(FINAL.partition("\n")[0], base)
        self._build("keystead", ROOT, "--format=docker", "--volume=/etc/ssl/certs:/etc/ssl/certs:ro")
        container = self._run("buildah", "from", "--pull=never", "keystead")
        self.root = self._run("buildah", "mount", container)
        self.config = json.loads(self._run("buildah", "inspect", "--type=image", "keystead"))["Docker"]["config"]
        self.data = folder / "data"
        self.data.mkdir(mode=0o700)
        os.chown(self.data, *map(int, self.config["User"].split(":")))

    def _build(self, name: str, folder: Path, *options: str) -> None:
        limits = [f"--ulimit=nproc={resource.getrlimit(resource.RLIMIT_NPROC)[1]}"]
        limits += [f"--ulimit=nofile={resource.getrlimit(resource.RLIMIT_NOFILE)[1]}"]
        self._run("buildah", "build", "--pull=never", "--network=host", *limits, *options, f"--tag={name}", str(folder))

    def _run(self, *command: str) -> str:
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    def command(self, *command: str) -> list[str]:
        """Return a command line that runs a command of the image, with a read-only root, in namespaces of its own."""
        place = (self.root, str(self.data), self.config["User"])
        shell = ("sh", "-euc", CONTAINER, "sh", *place, *self.config["Env"], *command)
        return ["unshare", "--mount", "--pid", "--fork", "--kill-child", *shell]


@pytest.fixture
def image() -> Iterator[Image]:
    """Build the image. It takes half a gigabyte, which is freed at once."""
    missing = [each for each in ("buildah", "mmdebstrap", "unshare") if shutil.which(each) is None]
    if missing:
        pytest.skip(f"the image is not built: {', '.join(missing)} not installed")
    if os.geteuid() != 0:
        pytest.skip("the image is not built: only root may make its base")
    with tempfile.TemporaryDirectory() as folder:
        yield Image(Path(folder))


@pytest.mark.long
def test_it_is_built_and_runs(image: Image) -> None:
    """The demo answers over HTTPS, healthy by the image's own check; its user is no root, and writes only its data."""
    demo = [*image.config["Entrypoint"], "demo", "--no-tour", "--host=0.0.0.0", "--port=8443", "--data=."]
    check = image.command(*image.config["Healthcheck"]["Test"][1:])
    assert subprocess.run(check, capture_output=True, check=False).returncode != 0
    with subprocess.Popen(image.command(*demo), stdout=subprocess.PIPE, text=True) as running:
        try:
            assert running.stdout is not None
            assert any(line.startswith("export KMIP_CA=") for line in running.stdout)
            context = ssl.create_default_context(cafile=image.data / "data" / "tls.crt")
            with urllib.request.urlopen("https://127.0.0.1:8443/readyz", context=context) as answer:
                assert answer.status == 200
            assert subprocess.run(check, check=False).returncode == 0
            tried = "id -u; touch /tmp/x x; rm x; ! touch /x /opt/keystead/x /var/x"
            done = subprocess.run(image.command("sh", "-euc", tried), capture_output=True, text=True, check=False)
            assert (done.returncode, done.stdout) == (0, "10001\n"), done.stderr
            assert done.stderr.count("Read-only file system") == 3
            (inner,) = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
            os.kill(int(inner), signal.SIGTERM)
            assert running.wait(30) == 0
        finally:
            running.kill()
    assert not list(image.data.iterdir())
