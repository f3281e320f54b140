"""What to do about the reason word of a key server's failure."""

from __future__ import annotations


def advice_about(reason: str) -> str:
    """Return the advice about a reason word, or an empty text for a word without advice."""
    from keystead.keyservers.failures import ADVICE  # a command without a failure starts without the tables
    from keystead.keyservers.key_reasons import WORDS

    word = WORDS.get(reason)
    return word.advice if word else ADVICE.get(reason, "")
