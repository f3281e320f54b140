"""All settings: name, default, help. Flags > environment ``KEYSTEAD_*`` > ``DIR/keystead.toml`` > default.

``docs/reference/settings.md`` is generated from the declarations below. This module reads files and the environment
only when it is asked to. It knows nothing of the rest of the service.
"""

from __future__ import annotations

import os
import stat
import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from dataclasses import Field

ENVIRONMENT_PREFIX = "KEYSTEAD_"
FILE_NAME = "keystead.toml"
DEFAULT_DATA = Path("keystead-data")
MOVED = {
    "fail_closed": "is `offline_reads_s`, where 0 means what `true` meant",
    "key_recovery_days": "is the cluster's: `keystead security key-manager config modify --key-recovery-days` sets it",
}
"""Names that were settings, with what replaces them."""


class SettingsError(Exception):
    """A setting cannot be used. The text names the setting and its source."""


def _setting(
    help_: str, default: Any, *, secret: bool = False, flag: bool = False, least: int = 1, most: int | None = None
) -> Any:
    metadata = {"help": help_, "secret": secret, "flag": flag, "least": least, "most": most}
    return field(default=default, metadata=metadata, repr=not secret)


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one node. Lists are comma-separated in flags, environment and file."""

    data: Path = _setting("The node's data directory.", DEFAULT_DATA, flag=True)
    root_key: Path | None = _setting(
        "File of the root key (mode 0400). Default: `root.key` in `$CREDENTIALS_DIRECTORY` (systemd) where there is"
        " one, else in the data directory.",
        None,
        flag=True,
    )
    listen: str = _setting(
        "Address and port of the HTTPS listener. Port 0: any free port.", "127.0.0.1:8443", flag=True
    )
    node_address: str = _setting(
        "`HOST:PORT` at which the other nodes reach this node's listener itself, not through a load balancer. They tell"
        " each other which keys and accounts they withdrew. Default: `listen`, with the machine's name in place of"
        " `0.0.0.0` or `[::]`.",
        "",
    )
    kmip_listen: str = _setting(
        "Address and port of the KMIP listener for applications, such as `0.0.0.0:5696`. Empty: there is none.",
        "",
        flag=True,
    )
    console: bool = _setting(
        "Serve the console, pages for browsers, on the HTTPS listener (`true`, `false`).", default=True
    )
    console_origin: str = _setting(
        "The address by which browsers reach the console, such as `https://keys.example.com`. Forms are taken from its"
        " pages only. Events that are forwarded link to its pages. Browsers are told to use HTTPS alone with this host"
        " (HSTS), unless the listener shows the certificate that `init` made. Default: whatever host a browser asks"
        " for.",
        "",
    )
    trusted_proxies: tuple[str, ...] = _setting(
        "Addresses or networks of proxies that begin each connection with a header of the PROXY protocol, version 2."
        " The client that the header names is counted, logged and audited. Without the header the connection is"
        " closed.",
        (),
    )
    connections: int = _setting(
        "Connections of clients at the same time, in all. Half of the files that the process may open (`ulimit -n`) is"
        " the most.",
        1024,
    )
    connections_per_address: int = _setting(
        "How many percent of `connections` one address may use. All IPv6 addresses of a /64 are one.", 25, most=100
    )
    connections_reserved: int = _setting(
        "How many percent of `connections` only addresses may use that have logged in within 15 minutes.", 25, most=90
    )
    database: str = _setting(
        "Database URL: `postgresql://...`, or empty for SQLite in the data directory. Several hosts, as in"
        " `postgresql://h1:5432,h2:5432/db`, are tried until one takes writes. A URL with a password must come from the"
        " environment or the file (mode 0600), not from a flag.",
        "",
        secret=True,
        flag=True,
    )
    egress_allow: tuple[str, ...] = _setting(
        "Networks (`127.0.0.0/8,::1/128`) that key servers and destinations may be in although the [egress"
        " rules](reasons.md) refuse them. A key server on this host needs it.",
        (),
    )
    egress_only: tuple[str, ...] = _setting(
        "If set, the full list of networks that key servers and destinations may be in. An address of this host's"
        " interfaces also needs `egress_allow`.",
        (),
    )
    probes_per_account: int = _setting("Calls of one account that may probe key servers at the same time.", 4)
    probes_per_svm: int = _setting("Calls of one SVM's accounts together that may probe at the same time.", 8)
    probes_in_all: int = _setting("Calls that may probe key servers at the same time, all accounts together.", 16)
    probes_waiting: int = _setting("Calls of one account that may wait for their turn to probe. More get 429.", 32)
    monitor_interval: int = _setting(
        "Seconds between two checks of a watched key server. `monitor_interval` of its key manager, if set, replaces"
        " it.",
        5,
    )
    monitor_probe_interval: int = _setting(
        "Seconds between two full probes of a watched key server that answers. The checks between them are light.", 60
    )
    cached_keys: int = _setting("Keys whose material a node keeps in memory, so that they can be read again.", 100_000)
    offline_reads_s: int = _setting(
        "Seconds for which keys in memory are still read while the database is unavailable or answers too late. Their"
        " audit records wait on the node's disk. Other nodes tell this one at once which keys they retired and which"
        " accounts they changed. If they cannot reach it, it serves these at most that long. A node that is alone has"
        " no such limit. With `0`, no key is read then.",
        60,
        least=0,
    )
    audit_keep_days: int = _setting(
        "Days after which [audit records are removed](../how-to/operate.md#keep-the-audit-log-small), once a backup or"
        " an export has them. With `0` they are kept for ever. Set it alike on all nodes.",
        0,
        least=0,
    )
    audit_keep_records: int = _setting(
        "How many audit records of each node are kept. Older ones are removed, once a backup or an export has them."
        " With `0` there is no limit. Set it alike on all nodes.",
        0,
        least=0,
    )
    simulate_metrocluster: bool = _setting(
        "For tests of clients: whether the cluster counts as a MetroCluster, in which SVMs have no key managers of"
        " their own (65536824). Each start of a node sets it for the cluster.",
        default=False,
    )
    simulate_release: str = _setting(
        "For tests of clients: the release that this node counts as, such as `9.5.0`. The oldest node decides what the"
        " cluster can (65536822 and others). `/cluster` shows the real one.",
        "",
    )
    quorum_required: bool = _setting(
        "Refuse to add, change and remove key servers while a node is down, as ONTAP does (65536600). Nothing needs it"
        " here, because the nodes share one database. Set it alike on all nodes (`true`, `false`).",
        default=False,
    )
    quorum_eviction_minutes: int = _setting(
        "Minutes after which a node that is down does not count any more for `quorum_required`.", 15
    )
    metrics_public: bool = _setting("Whether `/metrics` can be read without a login (`true`, `false`).", default=False)
    log_level: str = _setting("`debug`, `info`, `warning` or `error`.", "info")
    log_format: str = _setting("`auto` (console on a terminal, else JSON), `json` or `console`.", "auto")

    @classmethod
    def help(cls, name: str) -> str:
        """Return the help text of a setting."""
        text: str = cls.__dataclass_fields__[name].metadata["help"]
        return text

    @property
    def database_url(self) -> str | Path:
        """The database in SQLAlchemy's form. If none is set, the path of SQLite's file in the data directory."""
        if not self.database:
            return self.data.resolve() / "keystead.db"
        scheme, separator, rest = self.database.partition("://")
        return f"postgresql+psycopg{separator}{rest}" if scheme in {"postgresql", "postgres"} else self.database

    @property
    def root_key_file(self) -> Path:
        """The path of the root key: the setting, or in systemd's credentials directory, or in the data directory."""
        if self.root_key:
            return self.root_key
        credentials = os.environ.get("CREDENTIALS_DIRECTORY")
        if credentials and (Path(credentials) / "root.key").exists():
            return Path(credentials) / "root.key"
        return self.data / "root.key"


def load(flags: Mapping[str, Any], environment: Mapping[str, str] = os.environ) -> Settings:
    """Combine flags (None = not given), environment, file and defaults.

    Raises SettingsError for an unknown name in the file, for a value of a wrong form, and for a secret in a wrong
    place.
    """
    known = {item.name: item for item in fields(Settings)}
    from_environment = {
        name: environment[ENVIRONMENT_PREFIX + name.upper()]
        for name in known
        if environment.get(ENVIRONMENT_PREFIX + name.upper())
    }
    for name, place in MOVED.items():
        if environment.get(ENVIRONMENT_PREFIX + name.upper()):
            raise SettingsError(f"{ENVIRONMENT_PREFIX}{name.upper()} is no setting any more: it {place}")
    given = {name: value for name, value in flags.items() if value is not None}
    data = Path(given.get("data") or from_environment.get("data") or DEFAULT_DATA)
    from_file = _read_file(data / FILE_NAME, set(known))
    _refuse_password_in_flag(given.get("database"))
    values: dict[str, Any] = {}
    for source, table in (("file", from_file), ("environment", from_environment), ("flag", given)):
        for name, value in table.items():
            values[name] = _converted(known[name], value, source)
    return Settings(**values)


def _read_file(path: Path, known: set[str]) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{path}: not UTF-8") from None
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise SettingsError(f"{path}: not TOML") from None  # because the parser's message could quote a secret
    unknown = sorted(set(table) - known)
    if unknown and unknown[0] in MOVED:
        raise SettingsError(f"{path}: {unknown[0]!r} is no setting any more: it {MOVED[unknown[0]]}")
    if unknown:
        raise SettingsError(f"{path}: unknown setting {unknown[0]!r}")
    if has_password(table.get("database")) and stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise SettingsError(f"{path}: holds a database password, so its mode must be 0600")
    return table


def _refuse_password_in_flag(database: str | None) -> None:
    if has_password(database):
        raise SettingsError("a database URL with a password comes from KEYSTEAD_DATABASE or keystead.toml, not a flag")


def has_password(database: object) -> bool:
    """Return True if the URL may hold a password.

    In doubt, return True, because a malformed URL cannot be split safely.
    """
    scheme, separator, rest = str(database or "").partition("://")
    user = (rest if separator else scheme).rpartition("@")[0]
    return ":" in user or "password=" in rest.partition("?")[2]


def _converted(setting: Field[Any], value: Any, source: str) -> Any:
    """Convert a raw value to the type of the setting's default. Raises SettingsError."""
    name, default = setting.name, setting.default
    where = f"{ENVIRONMENT_PREFIX}{name.upper()}" if source == "environment" else f"{source} setting {name!r}"
    if isinstance(default, tuple):
        parts = value.split(",") if isinstance(value, str) else value
        if not isinstance(parts, list | tuple) or not all(isinstance(part, str) for part in parts):
            raise SettingsError(f"{where}: a list of texts is expected")
        return tuple(part.strip() for part in parts if part.strip())
    if isinstance(default, bool):
        if str(value).lower() not in {"true", "false"}:
            raise SettingsError(f"{where}: true or false is expected")
        return str(value).lower() == "true"
    if isinstance(default, int):
        least, most = setting.metadata["least"], setting.metadata["most"]
        if isinstance(value, bool) or not str(value).isascii() or not str(value).isdecimal() or int(value) < least:
            raise SettingsError(f"{where}: a {'positive ' if least else ''}whole number is expected")
        if most is not None and int(value) > most:
            raise SettingsError(f"{where}: {most} at most is expected")
        return int(value)
    if not isinstance(value, str | Path):
        raise SettingsError(f"{where}: a text is expected")
    return Path(value) if name in {"data", "root_key"} else str(value)
