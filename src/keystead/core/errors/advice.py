"""What to do about an error, where its text and cause do not say so already."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from keystead.core.errors import administration, certificates, common
from keystead.core.errors import key_managers as keys
from keystead.core.errors import keys as kept

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keystead.core.errors.table import ErrorKind

_PROBE = "`error.arguments` names the server, the stage and the reason: see [the reasons](reasons.md)."
_RELEASE = "Bring all nodes to the release that the text names."
_TAG = "A key tag has at most 32 printable characters, and no blanks."
_AGAIN = "Send the same call again, after the seconds of `Retry-After` where there are any."

ADVICE: Final[Mapping[ErrorKind, str]] = {
    common.DUPLICATE_ENTRY: "Choose another name, or use the existing object.",
    common.INVALID_PATH_VALUE: "Take the identifier from the object's `_links.self` or from its list.",
    common.METHOD_NOT_SUPPORTED: "The `Allow` header lists the supported methods.",
    common.API_NOT_FOUND: "Compare the path with [the list](api.md#paths).",
    common.ENTRY_NOT_FOUND: "List the collection: this account can use only the objects in the list.",
    common.NOT_AUTHORIZED: "`GET /api/security/login/whoami` shows what the account may do. Use another account,"
    " or change its role.",
    common.IN_USE: "Delete what it owns first, or what uses it.",
    common.INTERNAL_ERROR: "Look at the log. If it names no cause that you can remove, report the line. [Look whether"
    " the change was made](../how-to/operate.md#an-unknown-outcome) before you send it again.",
    common.SHUTTING_DOWN: _AGAIN,
    common.TOO_BUSY: _AGAIN,
    common.STORAGE_FAILED: "Bring the database back, or make room on its disk. Then send the same call again, after the"
    " seconds of `Retry-After`.",
    common.OUTCOME_UNKNOWN: "[Look whether the change was made](../how-to/operate.md#an-unknown-outcome). Only if not,"
    " send the call again.",
    common.TOO_MANY_REQUESTS: "Wait for the answers of earlier calls before you send the next call.",
    administration.PATH_NOT_SERVED: "Compare the path with [the list](api.md#paths).",
    administration.ROLE_BUILT_IN: "Create a role of your own, and give it to the account.",
    common.UNEXPECTED_ARGUMENT: "Compare the name with [the fields](api.md), or ask for it to be ignored with"
    " `ignore_unknown_fields=true`.",
    common.FIELD_NOT_SETTABLE: "[The fields](api.md) say which method sets what.",
    common.INVALID_FIELD_VALUE: "The text names the type in angle brackets.",
    common.BODY_TOO_LARGE: "Send fewer records in one call.",
    common.FIELD_NOT_ORDERED: "[The fields](api.md) say what lists can be ordered by.",
    common.QUERY_REQUIRED: "Select objects by the query. To select all objects, query a field that all of them have:"
    " `?uuid=*`.",
    common.RECORD_FAILED: "`error.arguments` begins with the code of what failed.",
    common.RECORDS_LEFT: "Read the job's results: `?job_results_uuid=`; they name what is left.",
    common.RECORDS_PARTIAL: "Read the job's results, correct the failed records, and send them again.",
    common.JOB_RUNNING: "Poll the job until it has an `end_time`.",
    common.JOB_ELSEWHERE: "Ask the collection that the job's `description` names.",
    common.SVM_NOT_FOUND: "List `/api/svm/svms`: this account can use only the SVMs in the list.",
    common.AUTHENTICATION_FAILED: "Check name and password, or that the client certificate is valid and its common name"
    " is an account's. After some failures the answers come slower.",
    keys.KEY_STORES_RELEASE: _RELEASE,
    keys.KEY_SERVER_LIMIT: "Remove a key server first, or make the new one a secondary.",
    keys.ALREADY_SECONDARY: "Remove it from the secondaries first.",
    keys.ONBOARD: "Use an external key manager.",
    keys.CERTIFICATE_NOT_INSTALLED: "Install it, with the SVM or the cluster as its owner, and give its uuid or name.",
    keys.CLUSTER_VERSION: _RELEASE,
    keys.KEY_MANAGER_EXISTS: "Change the existing key manager, or delete it.",
    keys.METROCLUSTER: "Use the cluster's key manager: SVMs without one of their own use it.",
    keys.NOT_ENABLED: "Enable the key store of this uuid, or take the uuid of the enabled key manager.",
    keys.KEY_SERVERS_UNREADABLE: "Check the log and the database.",
    keys.KEY_SERVER_NOT_CONFIGURED: "List the key manager's servers, and use a server from the list.",
    keys.KEY_PAIR: "Use a new certificate for the same key pair. If the key pair must change, move the keys to another"
    " key manager: how-to/keys.md says how.",
    keys.KMIP_VERSIONS: _PROBE,
    keys.KEY_SERVER_EXISTS: "`error.arguments` names the server. If you repeated an earlier call, there is nothing to"
    " do.",
    keys.EXTERNAL_INCOMPLETE: "Give `external.client_certificate`, `server_ca_certificates` and `servers` together.",
    keys.KMIP_COMMAND: _PROBE,
    keys.SERVERS_UNAVAILABLE: _PROBE,
    keys.SECONDARY_MALFORMED: "Give hosts or addresses alone: secondaries listen on their primary's port.",
    keys.PORT_RELEASE: _RELEASE,
    keys.POLLING_RELEASE: _RELEASE,
    keys.NO_EXTERNAL_MANAGEMENT: "Create a key manager first.",
    keys.RETRY_COUNT_RELEASE: _RELEASE,
    keys.SECONDARIES_RELEASE: _RELEASE,
    keys.KEY_STORE_ENABLED: "Delete the key manager itself: `/api/security/key-managers/{uuid}`.",
    keys.NO_DISABLING: "Enable another configuration, or delete the key manager.",
    keys.ADMIN_SVM_HAS_KEY_MANAGER: "Change the existing key manager, or delete it.",
    keys.INACTIVE_RELEASE: _RELEASE,
    keys.ENABLE_RELEASE: _RELEASE,
    keys.KEY_STORE_RELEASE: _RELEASE,
    keys.INACTIVE_UNCHANGEABLE: "Enable it first, or delete it and create it again.",
    keys.SERVER_CA_REFUSED: _PROBE,
    keys.CLIENT_CERTIFICATE_REFUSED: _PROBE,
    keys.TLS_ENGINE: _PROBE,
    keys.NETWORK: _PROBE,
    kept.KEY_NOT_READ: "Send the same call again, after the seconds of `Retry-After`. If it lasts, repair the key"
    " servers that the arguments name: see [the reasons](reasons.md).",
    kept.KEY_TAG_INVALID: _TAG,
    kept.KEY_TAG_BLANKS: _TAG,
    kept.AUTH_KEY_LIMIT: "Delete authentication keys that nothing needs.",
    kept.NO_KEY_SERVERS: "Add key servers first.",
    kept.NOT_PUSHED: "Repair the key servers that the arguments name, then send the same call again.",
    kept.AUTH_KEY_NOT_RESTORED: "`key-survival` of the key manager shows which servers should have it.",
    kept.KEYS_UNPROVEN: "Send the same call again with `return_timeout`: it becomes a job without a time limit. If the"
    " reason is `last_reading_too_long`, add another key server first, and wait until it has copies of the keys.",
    kept.SOLE_COPY: "Bring the other key servers back, or add a key server and wait until it has a copy of the key. If"
    " the server is dead and had the only copy, how-to/keys.md says what is left to do.",
    kept.VOLUME_KEY_NOT_RESTORED: "`key-survival` of the key manager shows which servers should have it.",
    kept.NOT_AN_AUTH_KEY: "Delete it as a volume key.",
    kept.KEYS_IN_USE: "Retire the keys first, and wait until their recovery windows have ended. After a restore, run"
    " `keystead key-manager rebuild`, then release destruction.",
    kept.KEYS_AT_CLUSTER: "Retire the SVM's keys in the cluster's key manager first.",
    kept.TOO_FEW_COPIES: "Repair the key servers that the arguments name. If the arguments show a `min_copies` above"
    " the number of replication domains, lower it. Then send the same call again.",
    kept.NOT_A_KEY_MANAGER: "Take the uuid from `/api/security/key-managers`.",
    kept.ONLY_PRIMARIES: "Name the primary of this secondary.",
    kept.NO_CLUSTER_KEY_MANAGER: "Create the cluster's key manager first.",
    kept.NOT_CLUSTERS_KEY_MANAGER: "Take the uuid of the key manager whose scope is the cluster.",
    kept.KEY_LENGTH: "Give 64 bytes, or leave the material out to have it generated.",
    certificates.NO_COMMON_NAME: "Give `common_name` in the body.",
    certificates.CERTIFICATE_TYPE: "Use `client`, `server`, `client_ca` or `server_ca`; a `root_ca` is made here:"
    " leave `public_certificate` out.",
    certificates.NOT_SIGNED: "Compare the request with what [certificates](../how-to/certificates.md) says.",
    certificates.CA_UNUSABLE: "Make a new `root_ca`, and sign with that.",
    certificates.NOT_A_CA: "Install the certificate of the authority, not the one that it signed.",
    certificates.CERTIFICATE_IN_USE: "Give the key manager another certificate first.",
    certificates.PRIVATE_KEY_EMPTY: "Send `private_key` as well.",
    certificates.CERTIFICATE_NOT_YET_VALID: "Wait, or check the clock of the Keystead host.",
    certificates.CERTIFICATE_EXPIRED: "Have it renewed.",
    certificates.CERTIFICATE_MALFORMED: "Send one PEM block; send the certificates above it in"
    " `intermediate_certificates`.",
    certificates.KEY_MALFORMED: "Send the key in PEM, not encrypted: openssl pkey -in KEY -out NEW decrypts it.",
    administration.NAME_LENGTH: "A name has 3 to 64 characters.",
    administration.PASSWORD_TOO_SHORT: "A password has 8 to 128 characters, letters and digits among them.",
    administration.PASSWORD_TOO_LONG: "A password has 8 to 128 characters, letters and digits among them.",
    administration.JOB_INTERRUPTED: "Check what the job has done, and send the rest again.",
    administration.LAST_ADMIN: "Give another account the role `admin` and the method `password` first.",
}
