"""Codes of keys: of creating, deleting and restoring them, and of what existing keys forbid.

Sources: ONTAP's pages of ``auth-keys`` (9.12), ``restore`` (9.13), ``key-ids`` (9.11), and those of key managers and
key servers for what existing keys forbid.
"""

from __future__ import annotations

from keystead.core.errors.table import row

KEY_NOT_READ = row(
    262145,
    503,
    "The key servers cannot return the key now. Retry the request later.",
    "No key server returned the key, but the key may exist: a key server that should have it was silent, refused, did"
    " not show its canary, returned other bytes, or could not be asked. For accounts of the cluster, the arguments name"
    " each server and the reason.",
)
KEYS_UNPROVEN = row(
    262145,
    503,
    "The keys could not be proven on the other key servers in time. Repeat the request: it goes on from there.",
    "A key server or a secondary was to be removed, and reading the copies elsewhere took too long. The arguments hold"
    " `keys`, how many keys must be proven, `proven`, how many were, and `reason`: `not_proven_in_time`, because the"
    " call ended, or `last_reading_too_long`, because too many keys have only one other copy. These must be read within"
    " 25 seconds.",
)
AUTH_KEY_LIMIT = row(
    65536048,
    400,
    "The maximum number of authentication keys are already configured.",
    "The cluster has 128 authentication keys.",
)
PASSPHRASE_LENGTH = row(
    65536053,
    400,
    "Invalid passphrase length; passphrase must be 20-32 ASCII-range characters.",
    "An authentication key's passphrase is shorter or longer, or has other characters than visible ASCII and blanks.",
)
KEY_TAG_INVALID = row(
    65536056,
    400,
    "The key tag value provided contains invalid characters.",
    "A key tag is longer than 32 characters, or holds one that is not printable.",
)
KEY_TAG_BLANKS = row(
    65536056,
    400,
    "The key-tag option cannot contain any spaces, tabs or new lines.",
    "A key tag holds a blank.",
)
NO_KEY_SERVERS = row(
    65536074, 400, "No key servers found.", "A key was to be created, and its key manager has no key servers."
)
NOT_PUSHED = row(
    65536076,
    400,
    "Failed to push authentication key to any registered key servers.",
    "A key of any kind was to be created, and no key server took it: the key does not exist. The arguments name each"
    " server and the reason.",
)
AUTH_KEY_NOT_RESTORED = row(
    65536083,
    500,
    "Internal error. Failed to restore the authentication key.",
    "Read: all key servers that should have this authentication key answered, and none has it. Restore: none of the key"
    " servers that were asked returned this authentication key with the material that it was created with.",
)
SOLE_COPY = row(
    65536700,
    400,
    "The key server contains keys that are currently in use and not available from any other configured key server in"
    " the SVM.",
    "A key server or a secondary was to be removed, or a removed server given up, and for some key no other server has"
    " a copy that could be proven just now. The arguments hold `keys`, how many such keys were found so far, `key_id`"
    " of the first ten, and for accounts of the cluster `reason`, why a copy elsewhere was not read.",
)
VOLUME_KEY_NOT_RESTORED = row(
    65536855,
    500,
    "Internal error. Failed to restore the volume encryption key.",
    "Read: all key servers that should have this volume key answered, and none has it. Restore: none of the key"
    " servers that were asked returned this volume key with the material that it was created with.",
)
NOT_AN_AUTH_KEY = row(
    65536860,
    400,
    "Key-id provided for deletion is not an authentication key.",
    "The key that was to be deleted as an authentication key is a volume's.",
)
KEYS_IN_USE = row(
    65536867,
    400,
    "Encrypted volumes are found for the SVM.",
    "A key manager was to be deleted, and it has keys: pending, in use, retired or purging. Or objects of aborted or"
    " purged keys must still be destroyed. Or destruction is held, as after a restore, and the database may lack keys.",
)
KEYS_AT_CLUSTER = row(
    65536878,
    400,
    "External key management cannot be configured as one or more volume encryption keys of the SVM are stored in"
    " cluster key management server.",
    "An SVM was to get its own key manager, and the cluster's has keys of this SVM.",
)
TOO_FEW_COPIES = row(
    65536987,
    400,
    "One or more key servers are unavailable.",
    "A key was to be created, and fewer replication domains than the key manager's policy asks for took it: there is no"
    " such key; or copies were to be replicated, and a server did not take them. The arguments name each server that"
    " failed, and the reason; and, where `min_copies` asks for more replication domains than there are, both numbers.",
)
NOT_A_KEY_MANAGER = row(
    65537125,
    400,
    "The provided key manager UUID is not the UUID of a keymanager.",
    "The uuid in the path of `key-ids` is no key manager's, for this account.",
)
ONLY_PRIMARIES = row(
    65538500,
    400,
    "This command only restores keys from primary key servers.",
    "`key_server` of a restore names a secondary key server.",
)
NO_CLUSTER_KEY_MANAGER = row(
    65538800,
    400,
    "External KMIP DKMIP keymanager not configured on administrative Vserver.",
    "Authentication keys are the cluster's, and the cluster has no key manager.",
)
NOT_CLUSTERS_KEY_MANAGER = row(
    65538802,
    400,
    "The UUID provided is not associated with the administrator SVM key manager.",
    "Authentication keys are the cluster's, and the uuid is that of an SVM's key manager.",
)
KEY_LENGTH = row(
    66060304,
    400,
    "Invalid key length.",
    "The material that was given for a volume's key (XTS-AES-256) is not 64 bytes.",
)
