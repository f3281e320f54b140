"""The checker itself: it passes what is sound, and names each breach of its rules."""

from __future__ import annotations

import pytest

from tests.survival.history import NEVER, RULES, History, Kind, Operation, Outcome, check, told

OK, FAILED, UNKNOWN = Outcome.OK, Outcome.FAILED, Outcome.UNKNOWN
Did = tuple[Kind, Outcome, dict[str, object]]


def did(kind: Kind, outcome: Outcome = OK, **fields: object) -> Did:
    """One operation that follows those before it; ``began`` and ``ended`` may say otherwise."""
    return kind, outcome, fields


def history(*done: Did) -> list[Operation]:
    """Operations one after the other (10-11, 20-21, ...), all of key k and name n with bytes m unless they say so."""
    made = []
    for number, (kind, outcome, fields) in enumerate(done, 1):
        values: dict[str, object] = {"name": "n", "key": "k", "began": 10 * number, "ended": 10 * number + 1}
        if kind in {Kind.CREATE, Kind.READ} and (outcome is OK or kind is Kind.CREATE):
            values["material"] = b"m"
        if kind is Kind.WINDOW:
            values |= {"name": "", "key": ""}
        made.append(Operation(kind, outcome=outcome, **(values | fields)))  # type: ignore[arg-type]
    return made


CREATE, READ, RETIRE, RECOVER = did(Kind.CREATE), did(Kind.READ), did(Kind.RETIRE), did(Kind.RECOVER)
PURGED, WINDOW = did(Kind.PURGED), did(Kind.WINDOW)
UNSURE = did(Kind.CREATE, UNKNOWN, key="", ended=NEVER)
REFUSED = did(Kind.CREATE, FAILED, key="")
LOST = did(Kind.READ, FAILED, guaranteed=True)
MISSED = did(Kind.READ, FAILED)
ALONE = did(Kind.READ, alone=True)
ANOTHER = did(Kind.CREATE, key="l", material=b"o")
ADD, REMOVE = did(Kind.ADD_SERVER, name="s"), did(Kind.REMOVE_SERVER, name="s")


def listed(*servers: str, guaranteed: bool = True) -> Did:
    """A list of key servers that must be right, as a rule."""
    return did(Kind.SERVERS, servers=frozenset(servers), guaranteed=guaranteed)


SOUND: dict[str, list[Did]] = {
    "nothing": [],
    "a key that is read": [CREATE, READ, READ],
    "a read that fails beyond the guarantee": [CREATE, MISSED, READ],
    "a read that began before the acknowledgement": [CREATE, did(Kind.READ, FAILED, guaranteed=True, began=10.5)],
    "a retired key that is not read": [CREATE, RETIRE, LOST],
    "a retired key that a node without its database reads": [CREATE, RETIRE, ALONE],
    "a retirement that overlaps a read": [CREATE, did(Kind.RETIRE, ended=35), READ],
    "a retirement that began in a read that failed": [
        CREATE,
        did(Kind.READ, FAILED, guaranteed=True, ended=35),
        RETIRE,
    ],
    "a key that is recovered": [CREATE, RETIRE, LOST, RECOVER, READ],
    "a retirement of unknown outcome": [CREATE, did(Kind.RETIRE, UNKNOWN), LOST, READ],
    "a recovery of unknown outcome, then read": [CREATE, RETIRE, did(Kind.RECOVER, UNKNOWN), LOST, READ],
    "a recovery that overlaps a read": [CREATE, RETIRE, did(Kind.RECOVER, ended=45), READ],
    "a refused retirement": [CREATE, did(Kind.RETIRE, FAILED), READ],
    "a purged key": [CREATE, RETIRE, WINDOW, PURGED, LOST, did(Kind.RECOVER, FAILED)],
    "a purged key's name": [CREATE, RETIRE, WINDOW, ANOTHER, did(Kind.READ, key="l", material=b"o")],
    "a recovery before the window": [CREATE, RETIRE, RECOVER, WINDOW, READ],
    "a recovery before its end has begun": [CREATE, RETIRE, WINDOW, RECOVER, READ],
    "a recovery of another retirement": [CREATE, RETIRE, RECOVER, WINDOW, RETIRE, RECOVER, READ],
    "a recovery that overlaps the window": [CREATE, RETIRE, did(Kind.RECOVER, ended=45), WINDOW, READ],
    "a creation of unknown outcome that made no key": [UNSURE, did(Kind.CREATE), READ],
    "a creation of unknown outcome that made one": [UNSURE, READ],
    "material that nobody gave": [did(Kind.CREATE, material=None), READ, READ],
    "a refused creation, then another": [REFUSED, CREATE, READ],
    "servers that come and go": [ADD, CREATE, listed("s"), REMOVE, READ, listed()],
    "a change of servers that overlaps a list": [ADD, did(Kind.REMOVE_SERVER, name="s", ended=35), listed("s")],
    "a removal of unknown outcome": [ADD, did(Kind.REMOVE_SERVER, UNKNOWN, name="s", ended=NEVER), listed(), listed()],
    "a server that nobody was told was added": [did(Kind.ADD_SERVER, UNKNOWN, name="s", ended=NEVER), listed("s")],
    "an old list of a node without its database": [ADD, REMOVE, listed("s", guaranteed=False)],
    "four servers": [*(did(Kind.ADD_SERVER, name=each) for each in "stuv"), listed(*"stuv")],
}

BROKEN: dict[str, tuple[str, list[Did]]] = {
    "a read that the guarantee covers fails": ("readable", [CREATE, LOST]),
    "the same after reads that worked": ("readable", [CREATE, READ, LOST]),
    "it fails after a recovery": ("readable", [CREATE, RETIRE, RECOVER, LOST]),
    "it fails after a refused retirement": ("readable", [CREATE, did(Kind.RETIRE, FAILED), LOST]),
    "a retirement is refused": ("readable", [CREATE, did(Kind.RETIRE, FAILED, guaranteed=True)]),
    "it fails before a retirement": ("readable", [CREATE, LOST, RETIRE]),
    "a recovered retirement of unknown outcome": (
        "readable",
        [CREATE, did(Kind.RETIRE, UNKNOWN), RETIRE, RECOVER, LOST],
    ),
    "other bytes": ("same_bytes", [CREATE, did(Kind.READ, material=b"x")]),
    "other bytes, though nothing is guaranteed": ("same_bytes", [CREATE, MISSED, did(Kind.READ, material=b"x")]),
    "two materials that nobody gave": (
        "same_bytes",
        [did(Kind.CREATE, material=None), READ, did(Kind.READ, material=b"x")],
    ),
    "two materials of a creation of unknown outcome": (
        "same_bytes",
        [did(Kind.CREATE, UNKNOWN, key="", material=None), READ, did(Kind.READ, material=b"x")],
    ),
    "a refused creation that is read": ("made_by_a_creation", [REFUSED, READ]),
    "other bytes than a creation of unknown outcome gave": (
        "made_by_a_creation",
        [UNSURE, did(Kind.READ, material=b"x")],
    ),
    "a key under another name": ("made_by_a_creation", [CREATE, did(Kind.READ, name="o")]),
    "a key before its creation": ("made_by_a_creation", [READ, UNSURE]),
    "two acknowledged keys of a name": ("one_key_per_name", [CREATE, ANOTHER]),
    "a second key of a name that is retired": ("one_key_per_name", [CREATE, RETIRE, ANOTHER]),
    "a second key of a name whose window passed before": ("one_key_per_name", [CREATE, WINDOW, RETIRE, ANOTHER]),
    "a key that is read after its name's next one": (
        "one_key_per_name",
        [CREATE, RETIRE, WINDOW, ANOTHER, READ],
    ),
    "an acknowledged key and one of unknown outcome": (
        "one_key_per_name",
        [CREATE, did(Kind.CREATE, UNKNOWN, key="", material=b"o"), did(Kind.READ, key="l", material=b"o")],
    ),
    "a retired key is read": ("unreadable_while_retired", [CREATE, RETIRE, READ]),
    "a key that was retired again is read": ("unreadable_while_retired", [CREATE, RETIRE, RECOVER, RETIRE, READ]),
    "a key whose recovery was refused is read": (
        "unreadable_while_retired",
        [CREATE, RETIRE, did(Kind.RECOVER, FAILED), READ],
    ),
    "a purged key is read": ("purged_for_good", [CREATE, RETIRE, WINDOW, PURGED, READ]),
    "a purged key is recovered": ("purged_for_good", [CREATE, RETIRE, WINDOW, PURGED, RECOVER]),
    "a key is purged in its window": ("purged_for_good", [CREATE, RETIRE, PURGED]),
    "a key is purged that was not retired": ("purged_for_good", [CREATE, WINDOW, PURGED]),
    "five servers": ("four_servers", [*(did(Kind.ADD_SERVER, name=each) for each in "stuvw"), listed(*"stuvw")]),
    "an added server is not there": ("servers_are_kept", [ADD, listed()]),
    "a removed server is there": ("servers_are_kept", [ADD, REMOVE, listed("s")]),
    "a refused removal removed a server": (
        "servers_are_kept",
        [ADD, did(Kind.REMOVE_SERVER, FAILED, name="s"), listed()],
    ),
    "a server was added though it was refused": (
        "servers_were_added",
        [did(Kind.ADD_SERVER, FAILED, name="s"), listed("s")],
    ),
}


@pytest.mark.parametrize("name", SOUND)
def test_what_is_sound(name: str) -> None:
    """Nothing is said of a history that some order of its operations explains."""
    assert check(history(*SOUND[name])) == []


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken(name: str) -> None:
    """The rule that is broken is named."""
    rule, done = BROKEN[name]
    assert rule in {line.split(":")[0] for line in check(history(*done))}


def test_a_node_without_its_database_answers_for_some_time_only() -> None:
    """The time counts from the end of the retirement to the beginning of the read."""
    done = history(CREATE, RETIRE, ALONE)
    assert check(done, alone=9) == []
    (line,) = check(done, alone=8)
    assert line.startswith("unreadable_while_retired")


def test_every_rule_is_broken_by_some_history() -> None:
    """No rule is without a history that it finds."""
    assert {rule for rule, _ in BROKEN.values()} == {rule.__name__.strip("_") for rule in RULES}


def test_recording() -> None:
    """Beginnings and ends are numbered as they happen; without an answer the outcome is unknown."""
    recorded = History()
    with recorded.operation(Kind.CREATE, "n", material=b"m") as first:
        with recorded.operation(Kind.CREATE, "o") as second:
            second.failed()
        first.ok(key="k")
    with pytest.raises(TimeoutError), recorded.operation(Kind.READ, "n", "k"):
        raise TimeoutError
    recorded.window_passed()
    found = [(each.kind, each.began, each.ended, each.outcome) for each in recorded.operations]
    assert found == [
        (Kind.CREATE, 1, 4, OK),
        (Kind.CREATE, 2, 3, FAILED),
        (Kind.READ, 5, 6, UNKNOWN),
        (Kind.WINDOW, 7, 8, OK),
    ]
    assert first.material == b"m"
    assert told(recorded.operations).splitlines()[2] == "[5-6] read 'n' k: unknown"


def test_recording_of_what_may_happen_late() -> None:
    """What nobody was told has not ended, and the numbers are the caller's."""
    times = iter((1.5, 2.5, 3.5))
    recorded = History(lambda: next(times), late=True)
    with recorded.operation(Kind.CREATE, "n") as known:
        known.failed()
    with recorded.operation(Kind.RETIRE, "n", "k"):
        pass
    assert [(each.began, each.ended) for each in recorded.operations] == [(1.5, 2.5), (3.5, NEVER)]
