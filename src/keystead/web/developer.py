"""The lines of the developer's page: the first call of this service by curl, netapp-ontap and Ansible. Pure."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from keystead.web.ways import Ways

CA_FILE: Final = "tls.crt"
"""The file by which clients trust the listener, as ``init`` writes it."""

_PYTHON: Final = """\
from getpass import getpass

from netapp_ontap import HostConnection, config
from netapp_ontap.resources import Cluster

config.CONNECTION = HostConnection({host}, {account}, getpass(), port={port}, verify={ca})
cluster = Cluster()
cluster.get(fields="name,version")
print(cluster.name, cluster.version.full)"""

_PLAYBOOK: Final = """\
- hosts: localhost
  gather_facts: false
  environment:
    REQUESTS_CA_BUNDLE: "{{{{ playbook_dir }}}}/{ca_file}"
  vars_prompt:
    - name: password
      prompt: Password
  tasks:
    - netapp.ontap.na_ontap_restit:
        hostname: {host}
        http_port: {port}
        username: {account}
        password: "{{{{ password }}}}"
        https: true
        api: cluster
        query: {{fields: "name,version"}}
      register: answer
    - debug:
        var: answer.response.name"""


def first_calls(origin: str, account: str) -> Ways:
    """Return the ways to read the name and the version of the cluster.

    ``origin`` is the address of this service, such as ``https://keys.example.com:8443``. Each way asks for the
    password, and trusts the file :data:`CA_FILE` beside it.
    """
    host, port = host_and_port(origin)
    quoted = {"host": json.dumps(host), "port": port, "account": json.dumps(account), "ca": json.dumps(CA_FILE)}
    url = f"{origin}/api/cluster?fields=name,version"
    return [
        ("curl", shlex.join(["curl", "--cacert", CA_FILE, "--user", account, url])),
        ("Python, with netapp-ontap", _PYTHON.format(**quoted)),
        ("Ansible, with netapp.ontap", _PLAYBOOK.format(**quoted, ca_file=CA_FILE)),
    ]


def host_and_port(origin: str) -> tuple[str, int]:
    """Return host and port of an address; an IPv6 address stays in brackets, as clients of the API expect it."""
    parts = urlsplit(origin)
    host = parts.hostname or ""
    return f"[{host}]" if ":" in host else host, parts.port or 443
