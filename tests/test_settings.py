"""Settings: where they come from, in which order, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from keystead.settings import DEFAULT_DATA, Settings, SettingsError, load

SECRET_URL = "postgresql://keystead:hunter2@db.example.com/keystead"


def test_defaults() -> None:
    """Without anything given, everything has its default."""
    settings = load({}, {})
    assert settings == Settings()
    assert settings.data == DEFAULT_DATA
    assert settings.database_url == DEFAULT_DATA.resolve() / "keystead.db"


def test_order(tmp_path: Path) -> None:
    """A flag comes before the environment, the environment before the file."""
    (tmp_path / "keystead.toml").write_text('listen = "f:1"\nlog_level = "debug"\negress_allow = ["10.0.0.0/8"]\n')
    environment = {"KEYSTEAD_LISTEN": "e:1", "KEYSTEAD_DATA": str(tmp_path), "KEYSTEAD_EGRESS_ONLY": "::1/128, 1.2.3.4"}
    settings = load({"listen": None}, environment)
    assert (settings.listen, settings.log_level, settings.data) == ("e:1", "debug", tmp_path)
    assert (settings.egress_allow, settings.egress_only) == (("10.0.0.0/8",), ("::1/128", "1.2.3.4"))
    assert load({"listen": "g:1"}, environment).listen == "g:1"


@pytest.mark.parametrize(("text", "expected"), [("true", True), ("False", False), ("TRUE", True)])
def test_a_switch_is_true_or_false(tmp_path: Path, text: str, expected: bool) -> None:
    """In the environment in any case of letters, in the file as TOML has it; off by default."""
    data = {"KEYSTEAD_DATA": str(tmp_path)}
    assert load({}, data).metrics_public is False
    assert load({}, data | {"KEYSTEAD_METRICS_PUBLIC": text}).metrics_public is expected
    (tmp_path / "keystead.toml").write_text(f"metrics_public = {text.lower()}\n")
    assert load({}, data).metrics_public is expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nonsense = 1", "unknown setting 'nonsense'"),
        ("= broken", "not TOML"),
        ("listen = 1", "a text is expected"),
        ("probes_in_all = 0", "a positive whole number"),
        ("probes_in_all = true", "a positive whole number"),
        ('probes_in_all = "many"', "a positive whole number"),
        ("offline_reads_s = -1", "a whole number"),
        ("fail_closed = true", "no setting any more: it is `offline_reads_s`, where 0"),
        ("connections_per_address = 101", "setting 'connections_per_address': 100 at most"),
        ("key_recovery_days = 3", "no setting any more: it is the cluster's: .*config modify"),
        ("metrics_public = 1", "true or false is expected"),
        ('metrics_public = "perhaps"', "true or false is expected"),
        ("egress_allow = [1]", "a list of texts"),
    ],
)
def test_file_refused(tmp_path: Path, text: str, said: str) -> None:
    """A file that cannot be used is named, with what is wrong."""
    (tmp_path / "keystead.toml").write_text(text)
    with pytest.raises(SettingsError, match=said):
        load({"data": tmp_path}, {})


def test_database_password() -> None:
    """A database URL with a password is accepted from the environment and refused as a flag; it is never shown."""
    settings = load({}, {"KEYSTEAD_DATABASE": SECRET_URL})
    assert settings.database_url == SECRET_URL.replace("postgresql", "postgresql+psycopg")
    assert "hunter2" not in repr(settings)
    assert load({"database": "postgresql://u@db/k"}, {}).database == "postgresql://u@db/k"


PASSWORDS = [
    SECRET_URL,
    "postgresql://db/keystead?password=hunter2",
    "postgresql://keystead:hunter2/with/slashes@db/keystead",
    "postgresql://keystead:hunter2?asked@db/keystead",
    "postgresql://keystead:hunter2@with:colon@db/keystead",
    "keystead:hunter2@db/keystead",
]


@pytest.mark.parametrize("url", PASSWORDS)
def test_no_database_password_in_a_flag(url: str) -> None:
    """However it is written."""
    with pytest.raises(SettingsError) as raised:
        load({"database": url}, {})
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize("url", PASSWORDS)
def test_database_password_in_a_readable_file(tmp_path: Path, url: str) -> None:
    """In the file it needs mode 0600."""
    file = tmp_path / "keystead.toml"
    file.write_text(f'database = "{url}"')
    file.chmod(0o644)
    with pytest.raises(SettingsError, match="0600"):
        load({"data": tmp_path}, {})
    file.chmod(0o600)
    assert load({"data": tmp_path}, {}).database == url


def test_a_file_that_is_not_utf8(tmp_path: Path) -> None:
    """TOML is UTF-8, whatever the machine's locale says; nothing of the file is quoted."""
    (tmp_path / "keystead.toml").write_bytes(b'database = "caf\xe9"')
    with pytest.raises(SettingsError, match="not UTF-8") as raised:
        load({"data": tmp_path}, {})
    assert "caf" not in str(raised.value)


def test_unreadable_file(tmp_path: Path) -> None:
    """A file that cannot be opened is an error, not an absence."""
    (tmp_path / "keystead.toml").mkdir()
    with pytest.raises(SettingsError, match="directory"):
        load({"data": tmp_path}, {})


def test_root_key_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The setting comes first, then systemd's credentials, then the data directory."""
    assert load({"data": tmp_path}, {}).root_key_file == tmp_path / "root.key"
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "credentials"))
    assert load({"data": tmp_path}, {}).root_key_file == tmp_path / "root.key"
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "root.key").touch()
    assert load({"data": tmp_path}, {}).root_key_file == tmp_path / "credentials" / "root.key"
    assert load({"root_key": "/elsewhere"}, {}).root_key_file == Path("/elsewhere")


def test_every_setting_has_help() -> None:
    """The reference page has a line for each."""
    assert all(Settings.help(name) for name in Settings.__dataclass_fields__)


def test_a_setting_that_moved_is_refused_in_the_environment() -> None:
    """Whoever set it is told where the value is now."""
    with pytest.raises(SettingsError, match="KEYSTEAD_KEY_RECOVERY_DAYS is no setting any more: it is the cluster's"):
        load({}, {"KEYSTEAD_KEY_RECOVERY_DAYS": "3"})
