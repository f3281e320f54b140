"""The table of other client certificates, and of other CAs of key servers."""

from __future__ import annotations

from typing import Final

from keystead.core.keys.model import Presence
from keystead.kmip.ttlv.enums import Operation, ResultReason
from tests.service.worlds.guard_steps import (
    ACCEPTED,
    certificate_expires,
    drop_secondary,
    gets,
    gives_canary,
    has_other_ca,
    hidden,
    hides_others,
    is_another_host,
    is_well,
    key_is_deleted,
    known,
    loses,
    not_shown,
    purge_begins,
    readable,
    refuses,
    remove,
    renew,
    restarts,
    returns,
    rows,
    sole_copy,
    spoils,
    trust,
    unreadable,
    untrusted,
    was_asked,
)
from tests.service.worlds.guards import NOTHING, SAME, Before, Case, Known, case, nowhere, unanswered

PRESENT, MISSING, DIFFERENT = Presence.PRESENT, Presence.MISSING, Presence.DIFFERENT
UNKNOWN, SENT = Presence.UNKNOWN, Presence.SENT

CERTIFICATES: Final[list[Case]] = [
    case(
        "it reads the canary and every key on each server",
        Before("ab", keys=("one", "two", "three")),
        renew(ACCEPTED),
        was_asked(a=1 + 3, b=1 + 3),
    ),
    case(
        "nothing was ever learned: nothing is read",
        Before("a", knows=NOTHING, keys=()),
        renew(ACCEPTED),
        was_asked(a=0),
    ),
    case(
        "b hides what another common name has brought",
        Before("ab", keys=(), next_name="somebody else", really=(hides_others("b"),)),
        renew(hidden("canary_not_seen", at="b")),
    ),
    case(
        "b has spoiled one key, or lost it",
        Before("ab", really=(spoils("b"),)),
        renew(hidden("different_material", at="b")),
        loses("b"),
        renew(hidden("item_not_found", at="b")),
        gets("b"),
        renew(ACCEPTED),
    ),
    case(
        "an account of an SVM hears no reason",
        Before("a", keys=(), of_svm=True, really=(refuses("a", Operation.GET, ResultReason.PERMISSION_DENIED),)),
        renew(hidden("")),
    ),
    *(
        case(
            f"was {presence}, and the old one reads it: the new one must; if neither does, it was lost",
            Before(
                "a",
                next_name="somebody else",
                rows={"a": presence},
                really=(gives_canary("a", "somebody else"), hides_others("a")),
            ),
            renew(hidden("permission_denied")),
            loses("a"),
            is_well("a"),
            renew(ACCEPTED),
        )
        for presence in (MISSING, DIFFERENT, UNKNOWN)
    ),
    case(
        "was sent: it is found by its name, or must not be there for the old one either",
        Before("a", rows={"a": unanswered(SENT)}, really=(loses("a"),)),
        renew(hidden("unsettled")),
        gets("a", name="there"),
        renew(ACCEPTED),
    ),
    case(
        "the key is deleted: it need not be read once it cannot be recovered, though it was just proven",
        Before("a", really=(loses("a"),)),
        renew(hidden("item_not_found")),
        key_is_deleted(),
        purge_begins(),
        known({"a": Known(PRESENT, newly=0)}),
        renew(ACCEPTED),
    ),
    case(
        "b is dead, and the old one works: b is removed first",
        Before("ab", silent=("b",)),
        renew(not_shown(at="b")),
        remove("b", ACCEPTED),
        renew(ACCEPTED),
        readable(),
    ),
]
"""Another client certificate; the one in use works."""

EXPIRED: Final[list[Case]] = [
    case(
        "b is dead: it cannot be removed before the certificate is renewed; a shows its keys",
        Before("ab", really=(certificate_expires(),), silent=("b",)),
        remove("b", sole_copy(reason="client_certificate_expired")),
        unreadable(),
        renew(ACCEPTED),
        rows({"a": PRESENT, "b": UNKNOWN}),
        readable(),
        remove("b", ACCEPTED),
    ),
    *(
        case(
            f"b is dead, and another host {text} has its address: that is not b",
            Before("ab", really=(certificate_expires(),), silent=("b",)),
            is_another_host("b", tls=tls),
            restarts(),
            renew(ACCEPTED),
            rows({"a": PRESENT, "b": UNKNOWN}),
            readable(),
            remove("b", ACCEPTED),
        )
        for text, tls in (("with TLS", True), ("without TLS", False))
    ),
    case(
        "b is dead and alone has the key: the old one stays until b is back",
        Before("ab", rows={"a": MISSING}, really=(loses("a"), certificate_expires()), silent=("b",)),
        renew(not_shown(at="b")),
        returns("b"),
        restarts(),
        renew(ACCEPTED),
        readable(),
    ),
    case(
        "b is dead and alone has a deleted key: until that cannot be recovered",
        Before(
            "ab",
            keys=("key", "deleted"),
            rows={"deleted:a": nowhere()},
            really=(loses("deleted:a"), certificate_expires()),
            silent=("b",),
        ),
        renew(not_shown(at="b")),
        key_is_deleted("deleted"),
        purge_begins(),
        renew(ACCEPTED),
        readable(),
        remove("b", ACCEPTED),
    ),
    case(
        "a2 is dead: a has shown what a2 has, and that stays present",
        Before("a", secondaries={"a": SAME}, really=(certificate_expires(),), silent=("a2",)),
        renew(ACCEPTED),
        rows({"a": PRESENT}),
        readable(),
        drop_secondary("a", ACCEPTED),
    ),
]
"""Another client certificate; the one in use has expired."""

AUTHORITIES: Final[list[Case]] = [
    case(
        "a has a certificate of another CA, b is dead: b cannot be removed before that CA is trusted",
        Before("ab", really=(has_other_ca("a"), restarts()), silent=("b",)),
        remove("b", sole_copy(reason="server_certificate_issuer_not_found")),
        unreadable(),
        trust("next", "use", outcome=ACCEPTED),
        rows({"a": PRESENT, "b": UNKNOWN}),
        readable(),
        remove("b", ACCEPTED),
    ),
    case(
        "b is dead and alone has the key: it is waited for",
        Before("ab", rows={"a": MISSING}, really=(loses("a"), has_other_ca("a"), restarts()), silent=("b",)),
        trust("next", "use", outcome=not_shown(at="b")),
    ),
    case(
        "the other CA alone would shut out b, which is not silent",
        Before("ab", really=(has_other_ca("a"), restarts())),
        trust("next", outcome=untrusted()),
        rows({"a": PRESENT, "b": PRESENT}),
        trust("next", "use", outcome=ACCEPTED),
        readable(),
    ),
]
"""Other CAs of key servers."""

IDENTITIES: Final = [*CERTIFICATES, *EXPIRED, *AUTHORITIES]
