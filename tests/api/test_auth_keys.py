"""``/security/key-managers/{uuid}/auth-keys``: authentication keys, on real key servers. Source: ONTAP 9.12."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from keystead.core import errors
from keystead.core.keys.model import KeyType
from keystead.core.keys.names import key_id
from keystead.core.model import Account, KeyManager, Role, Svm
from tests.api.conftest import ABSENT
from tests.peers.asgi import assert_error
from tests.peers.documented import DocumentedClient
from tests.peers.keystead import PASSWORD

if TYPE_CHECKING:
    from keystead.service.ports.store import Transaction
    from tests.api.conftest import Api
    from tests.peers.fixtures import Pki
    from tests.peers.groups import Group

PLAIN = {"accept": "application/json"}
OF_VS1 = "44444444-4444-4444-8444-444444444444"


def auth_keys(key_manager: str) -> str:
    """Return the path of a key manager's authentication keys."""
    return f"/api/security/key-managers/{key_manager}/auth-keys"


async def add_svm(api: Api) -> DocumentedClient:
    """Return an SVM with a key manager of its own, and its administrator."""
    vs1 = Svm(str(uuid4()), "vs1")

    def fill(tx: Transaction) -> None:
        admin = tx.account("admin")
        assert admin is not None
        tx.add_svm(vs1)
        tx.put_account(Account("vsadmin1", Role.VSADMIN, admin.password_hash, svm=vs1))
        tx.add_key_manager(KeyManager(OF_VS1, vs1, True, ABSENT, ()))

    await api.store.write(fill)
    return DocumentedClient(api.admin.app, "vsadmin1", PASSWORD)


@pytest.fixture
async def url(api: Api, pki: Pki, pykmip_group: Group) -> str:
    """Return the authentication keys of the cluster's key manager, which has two key servers."""
    return auth_keys(await api.key_manager(pki, [server.address for server in pykmip_group.primaries[:2]]))


async def test_an_authentication_key(api: Api, url: str, pykmip_group: Group) -> None:
    """Random, or made of a passphrase; shown with id and tag, on every server, and not among the volumes' keys."""
    made = await api.admin.post(f"{url}?return_records=true", {"key_tag": "drives"})
    assert made.status == 201, made.content
    (record,) = made.body["records"]
    assert made.headers["location"] == f"{url}/{record['key_id']}"
    assert (await api.admin.get(f"{url}/{record['key_id']}", headers=PLAIN)).body == {
        "key_id": record["key_id"],
        "key_tag": "drives",
        "security_key_manager": {"uuid": url.split("/")[4]},
    }
    passphrase = "a=passphrase of 26 letters"
    second = await api.admin.post(url, {"passphrase": passphrase})
    assert second.status == 201, second.content
    assert all(passphrase.encode() in server.objects().values() for server in pykmip_group.primaries[:2])
    assert passphrase not in repr(await api.audit())
    listed = (await api.admin.get(f"{url}?fields=*", headers=PLAIN)).body["records"]
    assert {each.get("key_tag") for each in listed} == {"drives", None}
    assert [each["key_id"] for each in listed] == sorted(each["key_id"] for each in listed)
    found = (await api.admin.get(f"{url}?key_tag=dr*", headers=PLAIN)).body["records"]
    assert [each["key_id"] for each in found] == [record["key_id"]]
    volume_keys = await api.admin.get(url.replace("auth-keys", "volume-keys"))
    assert volume_keys.body["num_records"] == 0
    missing = await api.admin.get(url.replace("auth-keys", "volume-keys") + f"/{record['key_id']}")
    assert_error(missing, errors.ENTRY_NOT_FOUND, "key_id")


async def test_a_volumes_key_is_not_deleted_as_an_authentication_key(api: Api, url: str) -> None:
    """65536860; it stays."""
    volume_keys = url.replace("auth-keys", "volume-keys")
    made = await api.admin.post(f"{volume_keys}?return_records=true", {"name": "vol1"})
    (record,) = made.body["records"]
    assert_error(await api.admin.delete(f"{url}/{record['key_id']}"), errors.NOT_AN_AUTH_KEY, "key_id")
    assert (await api.admin.get(f"{volume_keys}/{record['key_id']}")).body["state"] == "committed"


async def test_an_authentication_key_is_deleted_and_recovered(api: Api, url: str) -> None:
    """It is not there until PATCH, which ONTAP does not have, brings it back; a volume's key is none of these."""
    made = await api.admin.post(url, {"key_tag": "drives"})
    one = made.headers["location"]
    assert (await api.admin.delete(one)).status == 200
    assert_error(await api.admin.get(one), errors.ENTRY_NOT_FOUND, "key_id")
    for body, kind, target in (
        ({}, errors.NO_VALUES, None),
        ({"state": "retired"}, errors.INVALID_FIELD_VALUE, "state"),
        ({"key_tag": "other"}, errors.FIELD_NOT_SETTABLE, "key_tag"),
    ):
        assert_error(await api.admin.patch(one, body), kind, target)
    for _ in range(2):
        assert (await api.admin.patch(one, {"state": "committed"})).status == 200
    shown = await api.admin.get(one, headers=PLAIN)
    assert shown.body["key_tag"] == "drives"
    assert "state" not in shown.body
    assert (await api.audit())[-1].message == f"recovered key {shown.body['key_id']}"
    volume_keys = url.replace("auth-keys", "volume-keys")
    volumes = (await api.admin.post(volume_keys, {"name": "vol1"})).headers["location"]
    assert (await api.admin.delete(volumes)).status == 200
    as_auth = volumes.replace("volume-keys", "auth-keys")
    assert_error(await api.admin.patch(as_auth, {"state": "committed"}), errors.ENTRY_NOT_FOUND, "key_id")
    assert (await api.admin.get(volumes)).body["state"] == "retired"


async def test_what_an_authentication_key_must_be(api: Api, url: str) -> None:
    """ONTAP's codes; no answer repeats a passphrase."""
    for body, kind, target in (
        ({"passphrase": "x" * 19}, errors.PASSPHRASE_LENGTH, "passphrase"),
        ({"passphrase": "x" * 33}, errors.PASSPHRASE_LENGTH, "passphrase"),
        ({"passphrase": "\u00e9" * 20}, errors.PASSPHRASE_LENGTH, "passphrase"),
        ({"passphrase": 12345678901234567890}, errors.JSON_OUT_OF_RANGE, None),
        ({"passphrase": True}, errors.INVALID_SECRET_VALUE, "passphrase"),
        ({"key_tag": "two words"}, errors.KEY_TAG_BLANKS, "key_tag"),
        ({"key_tag": "x" * 33}, errors.KEY_TAG_INVALID, "key_tag"),
        ({"key_id": ABSENT}, errors.FIELD_NOT_SETTABLE, "key_id"),
    ):
        answer = await api.admin.post(url, body)
        assert_error(answer, kind, target)
        assert str(body.get("passphrase", "nothing")) not in answer.content.decode()
    assert (await api.admin.get(url)).body["num_records"] == 0


async def test_authentication_keys_are_the_clusters(api: Api, url: str) -> None:
    """An SVM's key manager has none (65538802; 65538800 when the cluster has no key manager); no SVM gets there."""
    vsadmin = await add_svm(api)
    for method in ("GET", "POST"):
        assert_error(await api.admin(method, auth_keys(OF_VS1)), errors.NOT_CLUSTERS_KEY_MANAGER)
        assert_error(await api.admin(method, auth_keys(ABSENT)), errors.ENTRY_NOT_FOUND, "uuid")
    one = key_id(KeyType.NSE_AK, ABSENT)
    assert_error(await api.admin.get(f"{url}/{one}"), errors.ENTRY_NOT_FOUND, "key_id")
    assert_error(await api.admin.get(f"{auth_keys(OF_VS1)}/{one}"), errors.NOT_CLUSTERS_KEY_MANAGER)
    assert_error(await vsadmin.get(url), errors.ENTRY_NOT_FOUND, "uuid")
    assert_error(await vsadmin.post(url, {}), errors.ENTRY_NOT_FOUND, "uuid")
    assert_error(await vsadmin.get(auth_keys(OF_VS1)), errors.NOT_CLUSTERS_KEY_MANAGER)


async def test_a_cluster_without_a_key_manager(api: Api) -> None:
    """65538800 at an SVM's; 65536828 at a configuration of the cluster's that is not in use."""
    await add_svm(api)
    assert_error(await api.admin.get(auth_keys(OF_VS1)), errors.NO_CLUSTER_KEY_MANAGER)
    disabled = KeyManager(ABSENT, None, enabled=False, client_certificate=ABSENT, server_ca_certificates=())
    await api.store.write(lambda tx: tx.add_key_manager(disabled))
    assert_error(await api.admin.get(auth_keys(ABSENT)), errors.NOT_ENABLED)
    assert_error(await api.admin.post(auth_keys(ABSENT), {}), errors.NOT_ENABLED)
