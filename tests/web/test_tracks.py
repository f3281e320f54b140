"""A look as a track of stages, with and without what only accounts of the cluster see."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from keystead.core import errors
from keystead.core.model import Observation, PeerCertificate, State
from keystead.core.probing import AtFault, ProbeResult, StageResult, Whose
from keystead.core.server_address import ServerAddress
from keystead.web.tones import Tone
from keystead.web.tracks import links, track_of, tracks_of

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
ADDRESS = ServerAddress.parse("ks1")
SECOND = ServerAddress.parse("ks2")
CA = PeerCertificate("Root CA", "Root CA", "AB", NOON - DAY)
STAGES = (
    StageResult("egress", "passed", 0.0),
    StageResult("resolve", "passed", 1.0),
    StageResult("connect", "passed", 3.04),
    StageResult("tls", "failed", 6.0),
    StageResult("kmip", "skipped", 0.0),
    StageResult("credential", "skipped", 0.0),
)
REFUSED = ProbeResult(
    ADDRESS,
    errors.SERVER_CA_REFUSED,
    "tls",
    "server_certificate_expired",
    ADDRESS,
    STAGES,
    {"address": "192.0.2.7:5696", "warnings": ["odd"]},
    at_fault=AtFault(Whose.SERVER_CA, CA),
)


def test_a_refused_probe() -> None:
    """Each stage with its time and fact; an installed CA at fault is named by its number."""
    (track,) = tracks_of(REFUSED, NOON)
    assert track.total_ms == 10.0
    assert [(stop.state, stop.fact) for stop in track.stops[:5]] == [
        ("passed", "allowed"),
        ("passed", "192.0.2.7"),
        ("passed", "port 5696"),
        ("failed", "server certificate expired"),
        ("skipped", ""),
    ]
    assert [(bar.begin, bar.width, bar.stage) for bar in track.bars] == [
        (0.0, 10.0, "resolve"),
        (10.0, 30.0, "connect"),
        (40.0, 60.0, "failed"),
    ]
    assert track.why is not None
    assert "an installed CA of key servers: Root CA, serial number AB" in track.why.fault
    assert track.why.code == str(errors.SERVER_CA_REFUSED.code)
    assert track.warnings == ("odd",)


def test_a_secondary() -> None:
    """Each address has a track of its own."""
    sound = replace(REFUSED, error=None, stage=None, reason=None, at_fault=None, stages=())
    both = replace(REFUSED, addresses=(sound, replace(REFUSED, server=SECOND)))
    assert [(each.address, each.about, each.tone) for each in tracks_of(both, NOON)] == [
        ("ks1:5696", "", Tone.OK),
        ("ks2:5696", "secondary", Tone.BAD),
    ]


def test_what_an_account_of_an_svm_sees() -> None:
    """The stage, what it means, and ONTAP's code; no reason, no times, no chains."""
    (track,) = tracks_of(replace(REFUSED, failed_server=SECOND).coarse(), NOON)
    assert (track.address, track.about, track.total_ms) == ("ks2:5696", "secondary", None)
    assert track.why is not None
    assert (track.why.happened, track.why.reason, track.why.fault) == ("TLS fails.", "", "")
    assert [stop.state for stop in track.stops] == [stage.state for stage in STAGES]
    assert not track.showed
    (track,) = tracks_of(replace(REFUSED, error=None, stages=()), NOON)
    assert {stop.state for stop in track.stops} == {"passed"}


@pytest.mark.parametrize(
    ("state", "stage", "tone", "states"),
    [
        (State.AVAILABLE, "", Tone.OK, ["passed"] * 6),
        (State.UNKNOWN, "", Tone.UNKNOWN, ["skipped"] * 6),
        (State.NOT_RESPONDING, "connect", Tone.BAD, ["passed"] * 2 + ["failed"] + ["skipped"] * 3),
    ],
)
def test_a_stored_look(state: State, stage: str, tone: Tone, states: list[str]) -> None:
    """Its stages have no times."""
    reason = "connection_refused" if stage else ""
    track = track_of(Observation("n", "s", "", state, NOON, stage, reason), ADDRESS, (), NOON)
    assert (track.tone, [stop.state for stop in track.stops], track.total_ms) == (tone, states, None)
    assert (track.why is None) == (not stage)


def test_a_look_that_failed_through_our_fault() -> None:
    """It is no look that there was not: why it failed is said. An account of an SVM hears that nothing is known."""
    failed = Observation("n", "s", "", State.UNKNOWN, NOON, "", "look_failed")
    track = track_of(failed, ADDRESS, (), NOON)
    assert track.why is not None
    assert track.headline == track.why.happened
    assert track.why.who == "Whoever runs Keystead"
    track = track_of(replace(failed, reason=""), ADDRESS, (), NOON)
    assert (track.why, track.headline) == (None, "Its state is not known.")


@pytest.mark.parametrize(
    ("state", "stage", "is_shown"),
    [
        (State.NOT_RESPONDING, "connect", False),
        (State.NOT_RESPONDING, "tls", True),
        (State.NOT_RESPONDING, "kmip", True),
        (State.AVAILABLE, "", True),
        (State.UNKNOWN, "", False),
    ],
)
def test_chains_of_a_stored_look(state: State, stage: str, is_shown: bool) -> None:
    """A look that did not reach TLS showed no certificate, to nobody: what is stored is of an earlier one."""
    seen = Observation("n", "s", "", state, NOON, stage, "connection_refused", (CA,))
    track = track_of(seen, ADDRESS, (CA,), NOON)
    assert (bool(track.showed), bool(track.ours)) == (is_shown, is_shown)


def test_chains_of_a_probe() -> None:
    """The same for a probe."""
    reached = replace(REFUSED, certificates=(CA,), client_certificates=(CA,))
    (track,) = tracks_of(reached, NOON)
    assert track.showed
    assert track.ours
    (track,) = tracks_of(replace(reached, stages=(*STAGES[:3], replace(STAGES[3], state="skipped"))), NOON)
    assert not track.showed
    assert not track.ours


@pytest.mark.parametrize(
    ("begins", "ends", "words", "tone"),
    [
        (None, 2 * DAY, "ends in 2 days", Tone.OK),
        (-DAY, -DAY, "ended 1 day ago", Tone.BAD),
        (DAY, 2 * DAY, "begins in 1 day", Tone.BAD),
    ],
)
def test_the_dates_of_a_certificate(begins: timedelta | None, ends: timedelta, words: str, tone: Tone) -> None:
    """In words, and bad if it is not valid now."""
    certificate = PeerCertificate("a", "b", "1", NOON + ends, None if begins is None else NOON + begins)
    (link,) = links([certificate], None, "", NOON)
    assert (link.ends, link.tone, link.is_valid) == (words, tone, tone is Tone.OK)
