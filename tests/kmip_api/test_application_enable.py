"""``application enable``: the folder that it writes is ready to use, by PyKMIP's client, too."""

from __future__ import annotations

import configparser
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.peers.keystead import PASSWORD

if TYPE_CHECKING:
    from pathlib import Path

    from tests.peers.kmip_service import KmipSite

PYKMIP = """
import sys
from kmip.core.enums import CryptographicAlgorithm, CryptographicUsageMask, SecretDataType
from kmip.pie.client import ProxyKmipClient
from kmip.pie.objects import SecretData

masks = [CryptographicUsageMask.ENCRYPT, CryptographicUsageMask.DECRYPT]
with ProxyKmipClient(config="client", config_file=sys.argv[1]) as client:
    made = client.create(CryptographicAlgorithm.AES, 256, name="disk", cryptographic_usage_mask=masks)
    assert len(client.get(made).value) == 32
    secret = client.register(SecretData(b"hunter2", SecretDataType.PASSWORD, masks))
    assert client.get(secret).value == b"hunter2"
    client.activate(made)
    assert client.locate() == [made, secret]
"""

ENABLE = ("security", "key-manager", "application", "enable")


def run(kmip: KmipSite, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as the administrator."""
    service = kmip.service
    environment = service.installation.environment | {
        "KEYSTEAD_URL": service.url,
        "KEYSTEAD_CA": str(kmip.ca_file),
        "KEYSTEAD_PASSWORD": PASSWORD,
    }
    return subprocess.run(
        [sys.executable, "-m", "keystead", *words], env=environment, capture_output=True, text=True, check=False
    )


def test_the_folder_is_ready_to_use(kmip: KmipSite, tmp_path: Path) -> None:
    """PyKMIP takes its configuration as it is, makes a key and a secret, and reads them."""
    folder = tmp_path / "files"
    words = ("--vserver", kmip.svm, "--name", "pykmip1", "--folder", str(folder), "--kmip-port", str(kmip.port))
    done = run(kmip, *ENABLE, *words)
    assert done.returncode == 0, done.stderr
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()}
    assert {name for name, mode in modes.items() if mode == 0o600} == {"client.key", "client-and-key.pem"}
    assert "PRIVATE KEY" not in done.stdout + done.stderr
    settings = configparser.ConfigParser()
    settings.read(folder / "pykmip.conf")
    assert settings["client"]["port"] == str(kmip.port)
    client = [sys.executable, "-W", "ignore", "-c", PYKMIP, str(folder / "pykmip.conf")]
    done = subprocess.run(client, check=False, timeout=60, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr + kmip.service.stderr.read_text()[-1500:]
    again = run(kmip, *ENABLE, *words)
    assert (again.returncode, "exists" in again.stderr) == (2, True)


def test_a_second_application_has_the_same_authority(kmip: KmipSite, tmp_path: Path) -> None:
    """It is listed; after its end its certificate no longer connects, and its folder was its own."""
    folder = tmp_path / "second"
    words = ("--vserver", kmip.svm, "--name", "second", "--folder", str(folder))
    assert run(kmip, *ENABLE, *words).returncode == 0
    assert "second" in run(kmip, *ENABLE[:-1], "show", "--vserver", kmip.svm).stdout
    done = run(kmip, *ENABLE[:-1], "disable", "--vserver", kmip.svm, "--name", "second", "--yes")
    assert done.returncode == 0, done.stderr
    assert "second" not in run(kmip, *ENABLE[:-1], "show", "--vserver", kmip.svm).stdout
    refused = run(kmip, *ENABLE[:-1], "disable", "--vserver", kmip.svm, "--name", "second", "--yes")
    assert refused.returncode == 1


def test_nothing_is_left_of_what_is_refused(kmip: KmipSite, tmp_path: Path) -> None:
    """An SVM that there is not, or a name that is taken: no folder stays."""
    for name, svm in (("fine", "absent"), ("admin", kmip.svm)):
        folder = tmp_path / name
        done = run(kmip, *ENABLE, "--vserver", svm, "--name", name, "--folder", str(folder))
        assert done.returncode == 1, done.stdout
        assert not folder.exists()
