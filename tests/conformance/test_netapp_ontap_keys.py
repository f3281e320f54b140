"""The client's classes for keys, on key servers that keep them: authentication keys, key ids, restore."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from netapp_ontap import NetAppRestError
from netapp_ontap.resources import KeyManagerAuthKey, KeyManagerKeys, Node

from tests.conformance.conftest import BOTH_DATABASES

if TYPE_CHECKING:
    from tests.conformance.conftest import Installed
    from tests.peers.groups import Group

pytestmark = BOTH_DATABASES


def test_keys_by_the_official_client(installed: Installed, pykmip_group: Group) -> None:
    """Its own example, then the rest of what it offers: list, find, delete; key ids of the node; a restore."""
    manager = installed.key_manager(*(server.address for server in pykmip_group.primaries[:2]), svm=False)
    manager.post(hydrate=True)
    (node,) = Node.get_collection()
    made = KeyManagerAuthKey(manager.uuid, key_tag="vsim1")
    made.post(hydrate=True, return_timeout=15)
    KeyManagerAuthKey(manager.uuid, passphrase="a=passphrase of 26 letters").post()
    listed = list(KeyManagerAuthKey.get_collection(manager.uuid, fields="*"))
    assert {getattr(each, "key_tag", None) for each in listed} == {"vsim1", None}
    assert KeyManagerAuthKey.find(manager.uuid, key_tag="vsim1").key_id == made.key_id
    with pytest.raises(NetAppRestError) as refused:
        KeyManagerAuthKey(manager.uuid, passphrase="too short").post()
    assert refused.value.status_code == 400
    ids = list(KeyManagerKeys.get_collection(manager.uuid, node.uuid, key_type="nse_ak", fields="*"))
    assert {each.key_id for each in ids} == {each.key_id for each in listed}
    assert {(each.key_server, each.key_store, each.restored) for each in ids} == {
        (pykmip_group.primaries[0].address, "external", True)
    }
    assert manager.restore(body={"key_tag": "vsim1"}).http_response.json()["state"] == "success"
    made.delete()
    assert KeyManagerAuthKey.count_collection(manager.uuid) == 1
    KeyManagerAuthKey.delete_collection(manager.uuid, key_id="*")
    assert KeyManagerAuthKey.count_collection(manager.uuid) == 0
