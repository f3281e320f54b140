"""The diagnosis of key servers to add: which may be added, why others are refused, and which fail together. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from keystead.web.rendering import counted
from keystead.web.server_forms import domain_field
from keystead.web.tones import Tone
from keystead.web.tracks import tracks_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from keystead.core.probing import ProbeResult
    from keystead.web.independence import Together
    from keystead.web.tracks import Track


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The findings of a dry run. ``accepted`` are the addresses that may be added, ``refused`` is how many may not."""

    tone: Tone
    headline: str
    tracks: tuple[Track, ...]
    accepted: tuple[str, ...]
    refused: int
    together: tuple[Together, ...]

    @property
    def fields(self) -> list[tuple[str, str]]:
        """The servers that may be added, each with the name of the field for its replication domain."""
        return [(address, domain_field(address)) for address in self.accepted]


def diagnosis(results: Sequence[ProbeResult], together: Sequence[Together], now: datetime) -> Diagnosis:
    """Return what a page tells about the results of a dry run: the refused first."""
    accepted = tuple(str(each.server) for each in results if each.accepted)
    refused = len(results) - len(accepted)
    tracks = [track for each in sorted(results, key=lambda each: each.accepted) for track in tracks_of(each, now)]
    return Diagnosis(
        Tone.OK if not refused else Tone.WARN if accepted else Tone.BAD,
        _headline(len(accepted), refused),
        tuple(tracks),
        accepted,
        refused,
        tuple(together),
    )


def _headline(accepted: int, refused: int) -> str:
    if not refused:
        return f"{counted(accepted, 'key server')} can be added."
    if not accepted:
        return "No key server can be added."
    return f"{accepted} of {counted(accepted + refused, 'key server')} can be added, {refused} cannot."
