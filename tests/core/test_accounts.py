"""keystead.core.accounts: names, passwords, roles, ways to log in, the last administrator."""

from __future__ import annotations

from dataclasses import replace

import pytest

from keystead.core import errors
from keystead.core.accounts import (
    AccountChange,
    NewAccount,
    check_can_go,
    check_name,
    check_password,
    key_reading_granted,
    methods_of,
    plan_change,
    plan_create,
    role_named,
)
from keystead.core.errors import ErrorKind, OntapError
from keystead.core.model import Account, CustomRole, Role, Svm
from keystead.core.secret import Secret

SVM = Svm("00000000-0000-4000-8000-000000000001", "vs0")
PASSWORD = Secret("correct-horse-9")
ADMIN = Account("admin", Role.ADMIN, "hash")
BOTH = frozenset({"password", "certificate"})


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("joe", None),
        ("Joe.Smith_2@example-1.test", None),
        ("9" * 64, None),
        ("jo", errors.NAME_LENGTH),
        ("j" * 65, errors.NAME_LENGTH),
        ("", errors.NAME_CHARACTERS),
        (".joe", errors.NAME_CHARACTERS),
        ("joe smith", errors.NAME_CHARACTERS),
        ("joe:smith", errors.NAME_CHARACTERS),
        ("joe/smith", errors.NAME_CHARACTERS),
        ("jöe", errors.NAME_CHARACTERS),
        ("joe\n", errors.NAME_CHARACTERS),
        ("(others)", errors.NAME_CHARACTERS),
        ("diag", errors.NAME_RESERVED),
        ("AutoSupport", errors.NAME_RESERVED),
    ],
)
def test_names(name: str, expected: ErrorKind | None) -> None:
    """A name has 3 to 64 of ONTAP's characters, and is not one of ONTAP's own."""
    assert refusal(lambda: check_name(name)) == (expected and (expected, "name"))


@pytest.mark.parametrize(
    ("password", "expected"),
    [
        ("abcdefg1", None),
        ("1" * 127 + "x", None),
        ("пароль-12", None),
        ("abcdef1", errors.PASSWORD_TOO_SHORT),
        ("", errors.PASSWORD_TOO_SHORT),
        ("1" * 128 + "x", errors.PASSWORD_TOO_LONG),
        ("abcdefgh", errors.PASSWORD_TOO_SIMPLE),
        ("12345678", errors.PASSWORD_TOO_SIMPLE),
        ("xx-JOE-1234", errors.PASSWORD_HOLDS_NAME),
        ("xx-eoj-1234", errors.PASSWORD_HOLDS_NAME),
    ],
)
def test_passwords(password: str, expected: ErrorKind | None) -> None:
    """8 to 128 characters with a letter and a digit, without the account's name; the error does not repeat it."""
    assert refusal(lambda: check_password(Secret(password), "Joe")) == (expected and (expected, "password"))


@pytest.mark.parametrize(
    ("name", "svm", "expected"),
    [
        (None, None, Role.ADMIN),
        (None, SVM, Role.VSADMIN),
        ("readonly", None, Role.READONLY),
        ("vsadmin-readonly", SVM, Role.VSADMIN_READONLY),
        ("vsadmin", None, errors.ROLE_OF_OTHER_SCOPE),
        ("admin", SVM, errors.ROLE_OF_OTHER_SCOPE),
        ("backup", None, errors.ROLE_NOT_FOUND),
        ("", SVM, errors.ROLE_NOT_FOUND),
    ],
)
def test_roles(name: str | None, svm: Svm | None, expected: object) -> None:
    """Each scope has its own roles; the first is the default, as ONTAP has it."""
    if isinstance(expected, ErrorKind):
        assert refusal(lambda: role_named(name, svm, ())) == (expected, "role.name")
    else:
        assert role_named(name, svm, ()) is expected


def refusal(work: object) -> tuple[ErrorKind, str | None] | None:
    """Return the error that a rule raises, and its target."""
    try:
        work()  # type: ignore[operator]
    except OntapError as error:
        return error.kind, error.target
    return None


@pytest.mark.parametrize(
    ("methods", "password", "expected"),
    [
        ({"password"}, PASSWORD, ("hash", False)),
        ({"certificate"}, None, ("", True)),
        ({"password", "certificate"}, PASSWORD, ("hash", True)),
        ({"password"}, None, (errors.PASSWORD_MISSING, "password")),
        ({"certificate"}, PASSWORD, (errors.FIELDS_EXCLUDE_EACH_OTHER, "password")),
        (set(), PASSWORD, (errors.MISSING_VALUE, "applications.authentication_methods")),
        ({"password"}, Secret("short"), (errors.PASSWORD_TOO_SHORT, "password")),
    ],
)
def test_a_new_account_logs_in_as_it_says(methods: set[str], password: Secret | None, expected: object) -> None:
    """An account has a password exactly when its method needs one, and at least one method."""
    new = NewAccount("joe", frozenset(methods), password=password, comment="c", locked=True, role="readonly")
    made: list[Account] = []
    refused = refusal(lambda: made.append(plan_create(new, None, "hash" if password else "")))
    if refused:
        assert refused == expected
    else:
        assert (made[0].password_hash, made[0].certificate) == expected
        assert made[0] == replace(
            Account("joe", Role.READONLY, "", locked=True, comment="c"),
            password_hash=made[0].password_hash,
            certificate=made[0].certificate,
        )
        assert methods_of(made[0]) == methods


def test_a_new_account_obeys_the_other_rules() -> None:
    """Name and role are checked, and the SVM is its owner."""
    new = NewAccount("joe", BOTH, password=PASSWORD)
    assert plan_create(new, SVM, "h") == Account("joe", Role.VSADMIN, "h", svm=SVM, certificate=True)
    assert refusal(lambda: plan_create(replace(new, name="diag"), SVM, "h")) == (errors.NAME_RESERVED, "name")
    refused = refusal(lambda: plan_create(replace(new, role="admin"), SVM, "h"))
    assert refused == (errors.ROLE_OF_OTHER_SCOPE, "role.name")


@pytest.mark.parametrize(
    ("account", "change", "password_hash", "expected"),
    [
        (ADMIN, AccountChange(comment="new"), "", replace(ADMIN, comment="new")),
        (ADMIN, AccountChange(password=PASSWORD), "other", replace(ADMIN, password_hash="other")),
        (ADMIN, AccountChange(methods=BOTH), "", replace(ADMIN, certificate=True)),
        (ADMIN, AccountChange(methods=frozenset({"certificate"})), "", errors.LAST_ADMIN),
        (ADMIN, AccountChange(locked=True), "", errors.LAST_ADMIN),
        (ADMIN, AccountChange(role="readonly"), "", errors.LAST_ADMIN),
        (ADMIN, AccountChange(role="vsadmin"), "", errors.ROLE_OF_OTHER_SCOPE),
        (
            Account("joe", Role.VSADMIN, "", svm=SVM, certificate=True),
            AccountChange(methods=BOTH, password=PASSWORD),
            "hash",
            Account("joe", Role.VSADMIN, "hash", svm=SVM, certificate=True),
        ),
        (
            Account("joe", Role.VSADMIN, "", svm=SVM, certificate=True),
            AccountChange(password=PASSWORD),
            "hash",
            errors.FIELDS_EXCLUDE_EACH_OTHER,
        ),
        (
            Account("joe", Role.VSADMIN, "hash", svm=SVM),
            AccountChange(methods=frozenset({"certificate"}), locked=True, role="vsadmin-readonly"),
            "",
            Account("joe", Role.VSADMIN_READONLY, "", svm=SVM, certificate=True, locked=True),
        ),
    ],
)
def test_changes(account: Account, change: AccountChange, password_hash: str, expected: object) -> None:
    """Fields that are not named stay; methods are replaced; one account can always administer the cluster."""
    made: list[Account] = []
    refused = refusal(lambda: made.append(plan_change(account, change, password_hash, [ADMIN])))
    assert (refused[0] if refused else made[0]) == expected


@pytest.mark.parametrize(
    ("other", "goes"),
    [
        (Account("second", Role.ADMIN, "hash"), True),
        (Account("second", Role.ADMIN, "hash", locked=True), False),
        (Account("second", Role.ADMIN, "", certificate=True), False),
        (Account("second", Role.READONLY, "hash"), False),
        (ADMIN, False),
    ],
)
def test_the_last_administrator_stays(other: Account, *, goes: bool) -> None:
    """One unlocked account with role admin and a password must remain; other accounts may be removed."""
    assert (refusal(lambda: check_can_go(ADMIN, [ADMIN, other])) is None) is goes
    assert refusal(lambda: check_can_go(Account("joe", Role.READONLY, "hash"), [])) is None
    assert refusal(lambda: check_can_go(replace(ADMIN, locked=True), [])) is None


def test_what_every_account_may_change() -> None:
    """Every account may change its password and nothing else."""
    assert AccountChange(password=PASSWORD).only_password
    assert not AccountChange().only_password
    assert not AccountChange(password=PASSWORD, comment="x").only_password


READER = Account("joe", Role.KEY_READER, "hash")


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (None, READER, "created"),
        (None, replace(READER, svm=SVM), "created"),
        (None, ADMIN, ""),
        (replace(READER, role=Role.READONLY), READER, "role"),
        (READER, replace(READER, role=Role.READONLY), ""),
        (READER, replace(READER, password_hash="other"), "password"),
        (READER, replace(READER, password_hash="", certificate=True), "login by certificate"),
        (replace(READER, certificate=True), READER, ""),
        (replace(READER, locked=True), READER, "unlocked"),
        (READER, replace(READER, locked=True, comment="c"), ""),
        (replace(ADMIN, locked=True), replace(READER, password_hash="other"), "role, password, unlocked"),
        (ADMIN, replace(ADMIN, password_hash="other"), ""),
    ],
)
def test_who_may_read_keys_now(before: Account | None, after: Account, expected: str) -> None:
    """A key-reader that is new, or in which somebody gets another way in; less than before is no grant."""
    assert key_reading_granted(before, after) == expected


def test_a_role_is_found_among_the_owners() -> None:
    """A custom one by its exact name; no name is the default, and an unknown name is 1261215."""
    mine = CustomRole("backup", None, ())
    assert role_named("backup", None, [CustomRole("other", None, ()), mine]) is mine
    assert role_named(None, None, [mine]) is Role.ADMIN
    assert role_named("readonly", None, [mine]) is Role.READONLY
    with pytest.raises(OntapError) as raised:
        role_named("nosuch", None, [mine])
    assert (raised.value.kind, raised.value.target) == (errors.ROLE_NOT_FOUND, "role.name")
