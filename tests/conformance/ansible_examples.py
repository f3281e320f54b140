"""The ``EXAMPLES`` of the modules of ``netapp.ontap``, as the installed collection has them, and which of them fail.

The examples leave host, login, certificates and an SVM to Ansible's variables. The SVMs and certificates that they name
themselves are made before; only the addresses of their key servers are replaced.
"""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, NamedTuple

from tests.conformance.playbooks import collection

if TYPE_CHECKING:
    from collections.abc import Sequence

SERVERS = ("10.10.10.10:5696", "10.10.10.10:5697", "10.10.10.11:5696")
"""The key servers of the examples: each is replaced by the address of a real one."""

SYSLOG_SERVER = "10.11.12.13"
"""The syslog server of the examples: replaced by this host, so that nothing is sent to another one."""


_NAME = "- name: "
_TASK = re.compile(rf"^{_NAME}.*?(?=^{_NAME}|\Z)", re.MULTILINE | re.DOTALL)


class Task(NamedTuple):
    """A task of a module's examples, as YAML. A second one of the same name is called ``NAME (2)``."""

    module: str
    name: str
    text: str

    @property
    def key(self) -> tuple[str, str]:
        """Its key in the tables: module and name."""
        return self.module, self.name


class Failure(NamedTuple):
    """A task that is known to fail: its message, and why it fails."""

    says: str
    why: str


def tasks_of(module: str, servers: Sequence[str]) -> list[Task]:
    """Return the tasks of a module's examples in their order, with these key servers."""
    tasks: dict[str, Task] = {}
    for text in _TASK.findall(with_servers(_examples(module), servers)):
        printed = text.splitlines()[0].removeprefix(_NAME)
        name = f"{printed} (2)" if printed in tasks else printed
        assert name not in tasks
        tasks[name] = Task(module, name, text)
    return list(tasks.values())


def with_servers(text: str, servers: Sequence[str]) -> str:
    """Return the text with other servers than those of the examples."""
    for printed, real in zip(SERVERS, servers, strict=True):
        text = text.replace(printed, real)
    return text.replace(SYSLOG_SERVER, "127.0.0.1")


def _examples(module: str) -> str:
    """Return the text of the one assignment to ``EXAMPLES`` in a module's source."""
    source = ast.parse((collection() / "plugins" / "modules" / f"{module}.py").read_text())
    (text,) = (
        statement.value
        for statement in source.body
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "EXAMPLES"
    )
    return str(ast.literal_eval(text))


_USER, _ROLE, _SVM = "na_ontap_user", "na_ontap_user_role", "na_ontap_svm"
_INFO, _CERTIFICATES = "na_ontap_rest_info", "na_ontap_security_certificates"
_KEY_MANAGER, _SECURITY = "na_ontap_security_key_manager", "na_ontap_security_config"
_EMS_DESTINATION, _LOG_FORWARD = "na_ontap_ems_destination", "na_ontap_log_forward"

MODULES = (
    *(_EMS_DESTINATION, "na_ontap_ems_filter", _LOG_FORWARD, "na_ontap_login_messages", _INFO, _CERTIFICATES),
    *(_SECURITY, _KEY_MANAGER, _SVM, _USER, _ROLE),
)

_LOGIN = Failure('"ssh" is an invalid value for field', "accounts log in by `http`: there is no `ssh` and no `console`")
_ZAPI_MODULE = Failure("NetApp-Lib module is required", "says `use_rest: never`: ZAPI only")
_STORAGE = Failure("API not found", "reads storage")
_ONBOARD = Failure("65536508", "the Onboard Key Manager is not built")
_PLAIN_HTTP = Failure("983129", "its webhook is `http`: events are forwarded by `https` only")
_UDP = Failure("262197", "UDP is not served: nothing tells whether a message arrived")
_NO_COMMON_NAME = Failure("3735558", "its signing request has no common name")

FAILURES = {
    (_EMS_DESTINATION, "Configure REST EMS destination"): _PLAIN_HTTP,
    (_EMS_DESTINATION, "Configure REST EMS destination with a certificate"): Failure(
        "certificate not found", "the example takes a certificate `my_cert` for granted; and its webhook is `http`"
    ),
    (_EMS_DESTINATION, "Configure REST EMS destination with type syslog"): Failure(
        "certificate not found", "the example gives a certificate and a URL to a syslog server"
    ),
    (_LOG_FORWARD, "Create log forward configuration"): _UDP,
    (_SECURITY, "Modify SSL Security Config - ZAPI"): Failure(
        "REST API currently does not support", "its option `supported_ciphers` is ZAPI only"
    ),
    (_SECURITY, "Modify SSL Security Config - REST"): Failure(
        "The operation is not supported", "what the listener takes is not a setting"
    ),
    (_INFO, "Run ONTAP gather facts for aggregate info and volume info"): _STORAGE,
    (_INFO, "Run ONTAP gather facts for aggregate info and volume info with fields section"): _STORAGE,
    (_INFO, "Run ONTAP gather facts for aggregate info with specified fields"): _STORAGE,
    (_INFO, "Get Snapshot info (owning_resource example)"): Failure("Could not find volume", "reads storage"),
    (_INFO, "Run ONTAP gather facts for volume info with query on name and state"): _STORAGE,
    (_INFO, "Run ONTAP gather fact to get DACLs"): Failure(
        "string indices must be integers", "reads storage; the module fails instead of saying that the API is not there"
    ),
    (_INFO, "Get ip network interface info"): Failure("API not found", "reads network interfaces"),
    (_INFO, "Get aggregate info"): _STORAGE,
    (_INFO, "Run demo subset using custom vsadmin role"): Failure(
        "cluster/software: API not found", "two of its three subsets are gathered; `cluster/software` is ONTAP's own"
    ),
    (_CERTIFICATES, "sign certificate using newly create certificate"): _NO_COMMON_NAME,
    (_CERTIFICATES, "sign certificate using newly create certificate (2)"): _NO_COMMON_NAME,
    (_CERTIFICATES, "install certificate - server certificate with chain of intermediate certificates"): Failure(
        "Unsupported parameters for", "the example misspells an option: `intermediat_certificates`"
    ),
    (_KEY_MANAGER, "Add Key Manager - ZAPI"): Failure(
        "65536876", "its option is ZAPI only: the module does not send it"
    ),
    (_KEY_MANAGER, "Add onboard Key Manager"): _ONBOARD,
    (_KEY_MANAGER, "Change passphrase for onboard Key Manager"): _ONBOARD,
    (_SVM, "Create SVM"): Failure("does not support 'root_volume", "its options of a root volume are ZAPI only"),
    (_SVM, "Create SVM (2)"): Failure("missing required arguments: name", "the example leaves out a required option"),
    (_SVM, "Stop SVM REST"): Failure('"state" cannot be set', "an SVM serves no data here that could be stopped"),
    (_USER, "Create User"): _LOGIN,
    (_USER, "Create cluster scoped user in REST."): _LOGIN,
    (_USER, "Create user with snmp application (ZAPI)"): Failure(
        "REST API currently does not support", "its options of `snmp` are ZAPI only"
    ),
    (_USER, "Create user"): _LOGIN,
    (_ROLE, "Create User Role Zapi"): _ZAPI_MODULE,
    (_ROLE, "Modify User Role Zapi"): _ZAPI_MODULE,
    (_ROLE, "Modify user role REST in ONTAP 9.11.1"): Failure("5636170", "it is about `/api/storage/volumes`"),
}
"""The tasks that are known to fail, by module and name."""
