"""``keystead node invite`` and ``keystead init --join``: a new node joins, and every way in which it may not."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import socket
import ssl
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from sqlalchemy import text

from keystead.app.audit import verify_audit
from keystead.app.initialise import initialise
from keystead.app.invite import invite
from keystead.app.join import join
from keystead.app.join_messages import Answer, Grant, Hello, Invited
from keystead.app.opening import CannotStart
from keystead.core.secret import Secret
from keystead.sealing.joining import Parties, Side, hash_of, new_token, proof, seal
from keystead.settings import Settings, SettingsError, load
from keystead.store import open_store
from keystead.store.opening import open_database
from tests.canaries import Canaries
from tests.peers.certificates import self_signed, server_context
from tests.peers.fault_servers import FaultServer, tls
from tests.peers.joining import ASKED, Inviter, Joiner, inviting
from tests.peers.keystead import PASSWORD, Installation
from tests.peers.killing import Harness

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.peers.certificates import Credentials
    from tests.peers.fault_servers import Connection
    from tests.peers.postgres import PostgresServer

JOINED = {"keystead.toml", "node.uuid", "root.key", "tls.crt", "tls.key"}
WRONG = "aaaa-bbbb-cccc-dddd-eeee-ffff-gggg-hhhh"


@pytest.fixture
def first(postgres: PostgresServer, tmp_path: Path) -> Iterator[Installation]:
    """Yield a node of a cluster, which nobody serves."""
    with postgres.database() as url:
        initialise(Settings(data=tmp_path / "one", database=url), PASSWORD.encode(), terminal=False)
        yield Installation(tmp_path / "one", url)


@pytest.fixture
def second(tmp_path: Path) -> Installation:
    """An installation that is not there yet, and that knows no database."""
    return Installation(tmp_path / "two")


def settings_of(installation: Installation) -> Settings:
    """Return the settings of a command on an installation."""
    return Settings(data=installation.data, database=installation.database)


def refused(settings: Settings, url: str, token: Secret | str) -> str:
    """Return why a node cannot join."""
    with pytest.raises(CannotStart) as found:
        join(settings, url, Secret(token) if isinstance(token, str) else token, lambda _: None)
    return str(found.value)


def in_database(installation: Installation, read: Callable[[Any], Any]) -> Any:
    """Read from the database of a cluster."""

    async def found() -> Any:
        store = open_store(settings_of(installation).database_url)
        try:
            return await store.read(read)
        finally:
            await store.close()

    return asyncio.run(found())


def recorded(installation: Installation) -> list[str]:
    """Return the messages of the only node's audit records after that of init."""
    uuid = (installation.data / "node.uuid").read_text().strip()
    messages = [each.message for each in in_database(installation, lambda tx: tx.audit_records(uuid, 1, 100))]
    assert all(each.startswith("invitation to join the cluster ") for each in messages)
    return [each.removeprefix("invitation to join the cluster ") for each in messages]


def announced(installation: Installation) -> int:
    """Return the number of alerts about invitations."""
    uuid = (installation.data / "node.uuid").read_text().strip()
    found = in_database(installation, lambda tx: tx.events_named(uuid, ["km.node.invitation"]))
    assert {each.severity for each in found} == {"alert"}
    return len(found)


def nodes(installation: Installation) -> list[str]:
    """Return the names of the nodes."""
    return sorted(node.name for node in in_database(installation, lambda tx: tx.nodes()))


# --- a new node joins ---


def test_a_new_node_joins_and_no_secret_is_seen(first: Installation, second: Installation) -> None:
    """Both show one fingerprint; the new node is served; the token is nowhere, the root key in the two files alone."""
    canaries = Canaries()
    canaries.plant("root key", (first.data / "root.key").read_bytes())
    first, second = replace(first, fresh=True), replace(second, fresh=True)
    with Inviter(first) as inviter, Joiner(second, inviter.url, inviter.token) as joiner:
        canaries.plant("token", inviter.token)
        fingerprint = inviter.wait_for(ASKED).after("Its key has the fingerprint:\n")
        assert joiner.after("for the operator of the inviting node to compare:\n") == fingerprint
        surface = b"".join(
            Path(f"/proc/{each.pid}/{name}").read_bytes()
            for each in (inviter, joiner)
            for name in ("cmdline", "environ")
        )
        inviter.tell("y")
        status, said = joiner.end()
        assert (status, inviter.end()[0]) == (0, 0), said + inviter.said
    assert "node keystead-02 has joined the cluster keystead" in said
    assert {each.name for each in second.data.iterdir()} == JOINED
    assert {each.name: each.stat().st_mode & 0o777 for each in second.data.iterdir()} == dict.fromkeys(
        JOINED, 0o400
    ) | {"keystead.toml": 0o600, "node.uuid": 0o444, "tls.crt": 0o444}
    assert load({"data": second.data}, {}).database == first.database
    assert (second.data / "root.key").read_bytes() == (first.data / "root.key").read_bytes()
    with second.serving() as service, service.client() as call:
        assert call.get("/cluster/nodes")["num_records"] == 2
        log = service.stderr.read_bytes() + call("GET", "/security/audit/messages?fields=**").content
        log += call("GET", "/support/ems/events?fields=**").content
    seen = canaries.search_bytes(surface + said.encode() + log, "said")
    seen += canaries.search_bytes(inviter.said.replace(inviter.token, "", 1).encode(), "inviter")
    seen += canaries.search_files([first.data, second.data], allowed={"root.key": {"root key"}})
    assert seen == []
    made, given = recorded(first)
    assert made.startswith("was made: for 15 minutes")
    assert (
        given
        == f"was used: the root key was given to the new node at 127.0.0.1, whose key has the fingerprint {fingerprint}"
    )
    assert announced(first) == 2
    assert verify_audit(settings_of(first))[1]


def test_settings_and_a_certificate_that_are_there_stay(first: Installation, second: Installation) -> None:
    """The database's URL is added to the file; a certificate that `init` did not make is given, unless there is one."""
    shared, own = self_signed(("keys.example.com",)), self_signed(("keys2.example.com",))
    put(shared, first.data)
    second.data.mkdir(mode=0o700)
    (second.data / "keystead.toml").write_text('listen = "127.0.0.2:8443"\n')
    third = replace(second, data=second.data.with_name("three"))
    third.data.mkdir(mode=0o700)
    put(own, third.data)
    for each in (second, third):
        with inviting(settings_of(first)) as found:
            join(load({"data": each.data}, {}), found.url, found.invitation.token, lambda _: None)
    settings = load({"data": second.data}, {})
    assert (settings.listen, settings.database) == ("127.0.0.2:8443", first.database)
    assert (second.data / "tls.key").read_text() == shared.key_pem
    assert (second.data / "tls.crt").read_text() == shared.certificate_pem
    assert (third.data / "tls.key").read_text() == own.key_pem
    assert nodes(first) == ["keystead-01", "keystead-02", "keystead-03"]


def put(credentials: Credentials, data: Path) -> None:
    """Have a listener's certificate."""
    for name, content in (("tls.key", credentials.key_pem), ("tls.crt", credentials.certificate_pem)):
        (data / name).unlink(missing_ok=True)
        (data / name).write_text(content)
        (data / name).chmod(0o400)


def test_an_own_url_of_the_database_counts(first: Installation, second: Installation) -> None:
    """It is used, and not written; the one of another cluster does not go with the root key."""
    with inviting(settings_of(first)) as found:
        lines = join(settings_of(replace(second, database=first.database)), found.url, found.invitation.token, print)
    assert not (second.data / "keystead.toml").exists()
    assert any("keystead-02" in line for line in lines)
    assert nodes(first) == ["keystead-01", "keystead-02"]


def test_no_account_is_made(first: Installation, second: Installation) -> None:
    """Even if there is no admin: the cluster has other administrators."""
    execute(first, "DELETE FROM accounts")
    with inviting(settings_of(first)) as found:
        join(settings_of(second), found.url, found.invitation.token, lambda _: None)
    assert in_database(first, lambda tx: tx.account("admin")) is None


# --- who is refused ---


def test_three_wrong_tokens_end_an_invitation(first: Installation, second: Installation) -> None:
    """Each says how many are left; the right one comes too late."""
    with Inviter(first) as inviter:
        for left in ("2 tries are left", "one try is left", "the invitation has ended with this try"):
            with Joiner(second, inviter.url, WRONG) as joiner:
                status, said = joiner.end()
                assert (status, left in said) == (1, True), said
        status, said = inviter.end()
        assert (status, said.endswith("Error: the invitation has ended after three wrong tokens\n")) == (1, True)
        assert "does not answer (Connection refused)" in refused(settings_of(second), inviter.url, inviter.token)
    assert not second.data.exists()
    assert recorded(first)[1:] == ["has ended after three wrong tokens"]
    assert announced(first) == 2


@pytest.mark.parametrize("answer", ["n", "", "yes, but"])
def test_the_operator_refuses(first: Installation, second: Installation, answer: str) -> None:
    """Anything but yes; nothing is given, and nothing is written."""
    with Inviter(first) as inviter, Joiner(second, inviter.url, inviter.token) as joiner:
        inviter.wait_for(ASKED).tell(answer)
        assert inviter.end()[0] == joiner.end()[0] == 1
        assert "the operator refused the new node at 127.0.0.1" in inviter.said
        assert joiner.said.endswith("Error: the operator of the inviting node refused this node\n")
    assert not second.data.exists()
    assert [each.partition(" at ")[0] for each in recorded(first)[1:]] == [
        "has ended: the operator refused the new node"
    ]


def test_an_invitation_expires(first: Installation, second: Installation) -> None:
    """While nobody comes, and while the operator is asked."""
    with inviting(settings_of(first), lives_s=0) as nobody:
        pass
    assert nobody.ended == "the invitation has expired"
    assert "does not answer (Connection refused): an invitation ends after 15 minutes" in refused(
        settings_of(second), nobody.url, nobody.invitation.token
    )
    with inviting(settings_of(first), answer=None) as found:
        said = refused(settings_of(second), found.url, found.invitation.token)
    assert said == "the invitation has expired: have a new invitation made"
    assert found.ended.startswith("the invitation has expired before the operator accepted the new node at 127.0.0.1")
    assert not second.data.exists()


def test_the_inviter_is_killed(first: Installation, second: Installation) -> None:
    """While the new node waits: it says so, and has written nothing."""
    with Inviter(first) as inviter, Joiner(second, inviter.url, inviter.token) as joiner:
        inviter.wait_for(ASKED)
        inviter.kill()
        status, said = joiner.end()
        assert (status, "is gone before it answered: have a new invitation made" in said) == (1, True)
    assert not second.data.exists()


def test_the_new_node_is_killed(first: Installation, second: Installation) -> None:
    """While the operator is asked: no root key is given, and the audit log says so."""
    with Inviter(first) as inviter, Joiner(second, inviter.url, inviter.token) as joiner:
        inviter.wait_for(ASKED)
        joiner.kill()
        inviter.tell("y")
        status, said = inviter.end()
        assert (status, "the connection broke to the new node" in said) == (1, True)
    assert recorded(first)[1].startswith("has ended: the connection broke")


def test_a_token_is_good_once(first: Installation, second: Installation) -> None:
    """Whoever comes second is told that it was used, while the first one is waiting."""
    with Inviter(first) as inviter, Joiner(second, inviter.url, inviter.token) as joiner:
        inviter.wait_for(ASKED)
        third = Settings(data=second.data.with_name("three"))
        assert "the token was used before" in refused(third, inviter.url, inviter.token)
        inviter.tell("y")
        assert joiner.end()[0] == inviter.end()[0] == 0
        assert not third.data.exists()


def test_ctrl_c_ends_an_invitation(first: Installation, second: Installation) -> None:
    """The audit log has it, and the new node that waited is told."""
    with Inviter(first) as inviter, Joiner(second, inviter.url, inviter.token) as joiner:
        inviter.wait_for(ASKED).interrupt()
        assert inviter.end()[0] == 130
        assert "the inviting node could not go on" in joiner.end()[1]
    assert recorded(first)[1:] == ["has ended: its command was stopped"]


# --- somebody in between ---


def sha256_of(credentials: Credentials) -> bytes:
    """Return the SHA-256 of a certificate, as URLs have it."""
    return credentials.certificate.fingerprint(SHA256())


@contextlib.contextmanager
def in_between(own: Credentials, answer: Callable[[bytes], bytes]) -> Iterator[tuple[int, list[bytes]]]:
    """Somebody with a certificate of their own, who answers messages. Yield their port, and what they have seen."""
    seen: list[bytes] = []

    def script(connection: Connection) -> None:
        request = b""
        while not request.endswith(b"}"):
            part = connection.recv(65536)
            if not part:
                return
            request += part
            seen.append(part)
        content = answer(request.partition(b"\r\n\r\n")[2])
        connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(content), content))

    with FaultServer(tls(server_context(own), script)) as server:
        yield server.port, seen


def send(invited: Invited, message: bytes) -> tuple[int, bytes]:
    """Send a message to an inviter, whoever it is."""
    context = ssl._create_unverified_context()  # noqa: S323
    connection = http.client.HTTPSConnection(invited.host, invited.port, timeout=10, context=context)
    with contextlib.closing(connection):
        connection.request("POST", invited.path_of(invited.certificate), message)
        answer = connection.getresponse()
        return answer.status, answer.read()


def test_another_certificate_is_noticed_before_anything_is_sent(first: Installation, second: Installation) -> None:
    """Of somebody who leads the connection to themselves."""
    with inviting(settings_of(first)) as found, in_between(self_signed(), lambda _: b"") as (port, seen):
        url = str(replace(Invited.parse(found.url), port=port))
        assert "somebody may stand in between. Nothing was sent" in refused(
            settings_of(second), url, found.invitation.token
        )
        join(settings_of(second), found.url, found.invitation.token, lambda _: None)
    assert seen == []


def test_a_message_that_is_passed_on_is_of_no_use(first: Installation, second: Installation) -> None:
    """Of a new node that was given the URL of somebody else: the proof is about their certificate."""
    own = self_signed()
    with inviting(settings_of(first)) as found:
        invited, token = Invited.parse(found.url), found.invitation.token
        with in_between(own, lambda message: send(invited, message)[1]) as (port, seen):
            url = str(Invited("127.0.0.1", port, sha256_of(own)))
            assert refused(settings_of(second), url, token) == "the token is wrong: 2 tries are left"
        assert len(b"".join(seen)) > 100
        join(settings_of(second), found.url, token, lambda _: None)


def test_an_answer_of_somebody_else_is_not_taken(second: Installation) -> None:
    """They seal a root key and a database of theirs, without the token."""
    own = self_signed()

    def answer(message: bytes) -> bytes:
        parties = Parties(Hello.decoded(message).key, sha256_of(own))
        sealed = seal(Grant(Secret(bytes(32)), "postgresql://theirs").encoded(), parties)
        return Answer(sealed, proof(hash_of(new_token()), Side.INVITER, parties, sealed)).encoded()

    with in_between(own, answer) as (port, _):
        url = str(Invited("127.0.0.1", port, sha256_of(own)))
        assert "from somebody who does not know the token" in refused(settings_of(second), url, new_token())
    assert not second.data.exists()


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b'{"refused": "why not"}', b'{"sealed": 1, "proof": ""}', b"\xff"]
)
def test_what_is_no_answer_is_refused(second: Installation, content: bytes) -> None:
    """Of any other program with this certificate."""
    own = self_signed()
    with in_between(own, lambda _: content) as (port, _):
        url = str(Invited("127.0.0.1", port, sha256_of(own)))
        assert "does not answer as a node that invites" in refused(settings_of(second), url, new_token())


def test_what_is_no_message_costs_no_try(first: Installation, second: Installation) -> None:
    """Scanners and silent clients neither end an invitation nor hold it up."""
    with inviting(settings_of(first)) as found, contextlib.ExitStack() as held:
        invited = Invited.parse(found.url)
        address = invited.host, invited.port
        silent = [held.enter_context(socket.create_connection(address)) for _ in range(5)]
        silent[-1].sendall(b"GET / HTTP/1.0\r\n\r\n")
        key = {"key": bytes(32).hex(), "proof": ""}
        for message in (b"", b"{}", b'{"key": "00", "proof": ""}', json.dumps(key | {"proof": "x"}).encode()):
            assert send(invited, message)[0] == 400
        assert send(replace(invited, certificate=bytes(32)), json.dumps(key).encode())[0] == 404
        join(settings_of(second), found.url, found.invitation.token, lambda _: None)
    assert found.ended.startswith("the invitation was used")


def test_no_root_key_leaves_without_a_record(first: Installation, second: Installation) -> None:
    """The database fails while the operator is asked."""
    with Inviter(first) as inviter, Joiner(second, inviter.url, inviter.token) as joiner:
        inviter.wait_for(ASKED)
        execute(first, "ALTER TABLE audit_records RENAME TO hidden")
        inviter.tell("y")
        assert joiner.end()[0] == inviter.end()[0] == 1
        assert "the inviting node could not go on, its command says why" in joiner.said
        assert "Error: the database" in inviter.said
    assert not second.data.exists()


def test_a_key_that_is_none_gets_nothing(first: Installation) -> None:
    """Although its owner knows the token: the invitation ends, and no record says that the root key was given."""
    with inviting(settings_of(first)) as found:
        invited = Invited.parse(found.url)
        parties = Parties(bytes(32), invited.certificate)
        hello = Hello(parties.new_node, proof(hash_of(found.invitation.token), Side.NEW_NODE, parties))
        assert Answer.decoded(send(invited, hello.encoded())[1]).refusal == "failed"
    assert found.ended == "the new node's key cannot be used"
    assert len(recorded(first)) == 1


# --- what is not as it must be ---


def test_a_directory_that_is_not_empty_is_refused(first: Installation, second: Installation) -> None:
    """Before anybody is asked: with what is there, or with the command that takes the root key that is there."""
    second.data.mkdir()
    (second.data / "notes").touch()
    url = str(Invited("127.0.0.1", 1, bytes(32)))
    assert "is not empty, it has notes" in refused(settings_of(second), url, WRONG)
    assert "`keystead init` without --join joins with it" in refused(settings_of(first), url, WRONG)


@pytest.mark.parametrize(
    "url",
    ["", "http://h:1/" + "0" * 64, "https://h/" + "0" * 64, "https://h:1/", "https://h:1/" + "0" * 63, "https://[h:1/"],
)
def test_a_url_of_no_invitation_is_a_usage_error(second: Installation, url: str) -> None:
    """With its form."""
    with pytest.raises(SettingsError, match="HOST:PORT/FINGERPRINT is expected"):
        join(settings_of(second), url, Secret(WRONG), print)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--token-file", "-"], "--token-file needs --join"),
        (["--join", "https://h:1/" + "0" * 64], "no token: give --token-file, or use a terminal"),
        (["--join", "https://h:1/", "--token-file", "-"], "is expected, as `keystead node invite` shows it"),
        (["--join", "https://h:1/" + "0" * 64, "--token-file", "-"], "a token has 8 groups of 4 letters and digits"),
        (["--join", "https://h:1/x", "--admin-password-file", __file__], "it takes no --admin-password-file"),
    ],
)
def test_usage(second: Installation, arguments: list[str], said: str) -> None:
    """Exit status 2, and nothing is made."""
    done = second.run("init", *arguments)
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr
    assert not second.data.exists()


def execute(installation: Installation, statement: str) -> None:
    """Change a cluster's database."""
    database = open_database(settings_of(installation).database_url)
    with database.writer.begin() as connection:
        connection.execute(text(statement))
    database.dispose()


def test_another_schema_is_refused(first: Installation, second: Installation) -> None:
    """It is never changed by a node that joins, and nothing is written."""
    with inviting(settings_of(first)) as found:
        execute(first, "UPDATE alembic_version SET version_num = '0012'")
        said = refused(settings_of(second), found.url, found.invitation.token)
    assert said.startswith(
        "nothing was written, because the database cannot be used from here: the database has schema"
    )
    assert not second.data.exists()


def test_a_database_of_another_cluster_is_refused(
    first: Installation, second: Installation, postgres: PostgresServer, tmp_path: Path
) -> None:
    """The new node's own URL leads there: the root key does not open it."""
    with postgres.database() as url, inviting(settings_of(first)) as found:
        initialise(Settings(data=tmp_path / "other", database=url), None, terminal=False)
        settings = settings_of(replace(second, database=url))
        assert "the root key is not the one" in refused(settings, found.url, found.invitation.token)
    assert not second.data.exists()


def test_sqlite_and_removed_nodes_invite_nobody(installation: Installation, first: Installation) -> None:
    """A node whose database nobody else reaches, and one that is no member any more."""
    with pytest.raises(CannotStart, match="`keystead db copy`"):
        invite(settings_of(installation), "127.0.0.1:0", print, lambda *_: True)
    execute(first, "DELETE FROM nodes")
    done = first.run("node", "invite")
    assert (done.returncode, "this node was removed from the cluster" in done.stderr) == (1, True)


# --- killed in the middle ---


@pytest.mark.long
def test_a_join_that_is_killed_anywhere_can_be_finished(first: Installation, tmp_path: Path) -> None:
    """Before the root key is there, by another invitation; then by `init`. Nothing is torn, no node made twice."""
    with Harness(statements=False) as harness:

        def killed_at(number: int | None, data: Path) -> tuple[bool, list[str]]:
            with inviting(settings_of(first)) as found:
                token = found.invitation.token.reveal().decode()
                outcome = harness.run("join", number, data=str(data), url=found.url, token=token)
            return outcome.killed, outcome.points

        _, points = killed_at(None, tmp_path / "whole")
        for number, point in enumerate(points):
            where = f"killed at point {number}, {point}"
            data, known = tmp_path / f"killed-{number}", nodes(first)
            assert killed_at(number, data)[0], where
            if (data / "root.key").exists():
                initialise(load({"data": data}, {}), None, terminal=False)
            else:
                assert nodes(first) == known, where
                with inviting(settings_of(first)) as found:
                    join(load({"data": data}, {}), found.url, found.invitation.token, lambda _: None)
            assert {each.name for each in data.iterdir()} == JOINED, where
            assert len(nodes(first)) == len(known) + 1, where


def test_serve_says_that_init_must_finish(first: Installation, second: Installation) -> None:
    """If a join was killed before the node was in the database."""
    with inviting(settings_of(first)) as found:
        join(settings_of(second), found.url, found.invitation.token, lambda _: None)
    (second.data / "node.uuid").unlink()
    (second.data / "node.uuid").write_text("11111111-1111-4111-8111-111111111111\n")
    done = replace(second, database=first.database).run("serve")
    assert (done.returncode, "run `keystead init` again, which makes the rest" in done.stderr) == (1, True)
