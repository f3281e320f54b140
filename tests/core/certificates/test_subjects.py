"""Subject names and subject alternative names: reading, refusing, building."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from keystead.core import errors
from keystead.core.certificates import subjects
from keystead.core.certificates.subjects import AlternativeNames, alternatives_in, alternatives_of, parse_subject
from keystead.core.errors import OntapError
from tests.core.certificates.test_certificates import pem

if TYPE_CHECKING:
    from collections.abc import Callable

SUBJECTS = {
    "C=US,O=NTAP,CN=test.domain.com": [("C", "US"), ("O", "NTAP"), ("CN", "test.domain.com")],
    "C=US, O=NTAP,  CN=a b": [("C", "US"), ("O", "NTAP"), ("CN", "a b")],
    r"O=NetApp\, Inc.,CN=x": [("O", "NetApp, Inc."), ("CN", "x")],
    "ST=NC,L=RTP,OU=u,CN=é": [("ST", "NC"), ("L", "RTP"), ("OU", "u"), ("CN", "é")],
    "emailAddress=a@b.c,CN=x": [("1.2.840.113549.1.9.1", "a@b.c"), ("CN", "x")],
    "": [],
}


@pytest.mark.parametrize(("text", "read"), SUBJECTS.items())
def test_subject_names(text: str, read: list[tuple[str, str]]) -> None:
    """Keys and values are read in their order; blanks after a comma are ignored, a backslash escapes."""
    assert [(item.rfc4514_attribute_name, item.value) for item in parse_subject(text)] == read


@pytest.mark.parametrize(
    "text",
    [
        "nonsense",
        "CN=",
        "CN=a,",
        ",CN=a",
        "XX=a",
        "C=USA",
        "CN=" + "a" * 65,
        "CN=a\nb",
        r"CN=a\00b",
        r"CN=\1b[2J",
        "=a",
    ],
)
def test_bad_subject_names(text: str) -> None:
    """A subject that cannot be read, or must not be in a certificate, is refused with 52560423."""
    with pytest.raises(OntapError) as raised:
        parse_subject(text)
    assert (raised.value.kind, raised.value.target) == (errors.SUBJECT_MALFORMED, "subject_name")


@given(st.text(max_size=60))
def test_any_subject_name(text: str) -> None:
    """Any text in place of a subject name is read or raises OntapError."""
    for tried in (text, f"CN={text}"):
        try:
            subject = parse_subject(tried)
        except OntapError:
            continue
        assert all(subjects.printable(str(item.value)) for item in subject)


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (
            subjects.dns_name,
            ["a", "*.example.com", "xn--bcher-kva.example", "ks_1.example.com", "1.2.example"],
            ["", "*", "a..b", ".a", "a.", "-a", "a-", "*.*.a", "a b", "a\n", "ä.example", "a." * 127 + "a", "a" * 64],
        ),
        (subjects.ip_address, ["10.0.0.1", "::1"], ["", "10.0.0", "10.0.0.1/8", "fe80::1%eth0", "ks", "010.0.0.1"]),
        (subjects.email_address, ["a@b", "a.b+c@d.example"], ["", "a", "@b", "a@", "a b@c", "a@b\n", "a@b@c", "ä@b"]),
        (
            subjects.uri,
            ["http://example.com", "spiffe://a/b", "urn:x:y"],
            ["", "example", "http:", "://a", "http://a b", "http://ä", "x:y\n", "x:" + "y" * 2048],
        ),
    ],
)
def test_alternative_names(check: Callable[[str], str], good: list[str], bad: list[str]) -> None:
    """Each kind of alternative name is accepted in its own form only."""
    assert [check(text) for text in good] == good
    for text in bad:
        with pytest.raises(ValueError, match=r"."):
            check(text)


def test_alternative_names_of_a_certificate() -> None:
    """The four kinds are read back as they were written; a certificate without any shows none."""
    names = AlternativeNames(("a.example", "*.b"), ("10.0.0.1", "::1"), ("a@b",), ("urn:x",))
    extension = x509.Extension(x509.SubjectAlternativeName.oid, critical=False, value=names.extension())
    assert alternatives_of(x509.Extensions([extension])) == names
    assert alternatives_in(pem()) is None
    assert not AlternativeNames()
