"""What a page shows of a refusal: which key servers, why, and advice without the marks of the reference pages."""

from __future__ import annotations

from keystead.core import errors
from keystead.core.errors import ADVICE, OntapError
from keystead.core.errors.key_reasons import WORDS
from keystead.core.errors.probe_reasons import ADVICE as PROBE_ADVICE
from keystead.web.refusing import plain, refusing_servers


def test_each_server_has_its_reason() -> None:
    """In the error's order; what has no reason is no refusal."""
    facts = [
        ("key_manager", "m"),
        *(("server", "ks1"), ("stage", "tls"), ("reason", "client_certificate_untrusted")),
        *(("server", "ks2"), ("stage", "connect"), ("reason", "a_new_word")),
        ("server", "ks3"),
    ]
    first, second = refusing_servers(OntapError(errors.NETWORK, arguments=facts))
    assert first[:3] == ("ks1", "tls", "client certificate untrusted")
    assert "install that CA" in first.advice
    assert second == ("ks2", "connect", "a new word", "")
    assert refusing_servers(OntapError(errors.DUPLICATE_ENTRY, arguments=[("name", "n")])) == []


def test_advice_is_plain() -> None:
    """No marks are left of any advice; the words of a link stay."""
    every = {*ADVICE.values(), *PROBE_ADVICE.values(), *(word.advice for word in WORDS.values())}
    assert not [shown for shown in map(plain, every) if "`" in shown or "](" in shown]
    assert plain("See `x` in [the reasons](reasons.md).") == "See x in the reasons."
