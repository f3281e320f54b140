"""A look at a key server as a track of stages, and why it ended: the reason, both chains, what to do. Pure.

A track is made of the result of a probe, which has times and facts, or of a stored observation, which has neither.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from keystead.core.attention.blame import NO_ISSUER, blamed
from keystead.core.errors.remedies import ABOUT_STAGES, remedy
from keystead.core.model import State
from keystead.core.probing import STAGES, Whose
from keystead.core.server_address import ServerAddress
from keystead.web.rendering import span
from keystead.web.tones import Tone

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from keystead.core.model import Observation, PeerCertificate
    from keystead.core.probing import AtFault, ProbeResult, StageResult

TITLES: Final = {
    "egress": "Egress",
    "resolve": "Resolve",
    "connect": "Connect",
    "tls": "TLS",
    "kmip": "KMIP",
    "credential": "Credential",
}
"""The stages as titles."""

TLS: Final = "tls"
"""The stage in which certificates are shown."""

_PASSED, _FAILED, _SKIPPED = "passed", "failed", "skipped"
_WHOSE: Final = {
    Whose.SERVER: "the server's",
    Whose.CLIENT: "ours",
    Whose.SERVER_CA: "an installed CA of key servers",
}
_SEES_MORE: Final = "An account of the cluster sees the reason."


@dataclass(frozen=True, slots=True)
class Stop:
    """A stage in a track: ``passed``, ``failed`` or ``skipped``. ``elapsed_ms`` is None if it is not known."""

    stage: str
    state: str
    fact: str
    elapsed_ms: float | None = None

    @property
    def title(self) -> str:
        """The stage as a title."""
        return TITLES[self.stage]


class Link(NamedTuple):
    """A certificate in a chain. ``note`` says what is wrong with it, empty if nothing is.

    ``is_valid`` says that now is between its dates.
    """

    certificate: PeerCertificate
    tone: Tone
    ends: str
    note: str
    is_valid: bool


@dataclass(frozen=True, slots=True)
class Why:
    """Why a key server was refused, and what to do about it. ``who`` must act. ``code`` is ONTAP's, where known.

    ``fault`` is a sentence about the certificate at fault, empty if there is none.
    """

    happened: str
    fault: str
    who: str
    steps: tuple[str, ...]
    stage: str
    reason: str
    code: str


class Bar(NamedTuple):
    """A part of the time of a probe: begin and width in percent. ``stage`` gives its colour."""

    begin: float
    width: float
    stage: str


@dataclass(frozen=True, slots=True)
class Track:
    """A look at one address. ``showed`` is the chain that it showed us, ``ours`` the chain that we showed it.

    ``why`` is None if every stage passed, or if nothing is known. ``about`` says what the address is.
    """

    address: str
    about: str
    tone: Tone
    headline: str
    stops: tuple[Stop, ...]
    why: Why | None
    showed: tuple[Link, ...] = ()
    ours: tuple[Link, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def total_ms(self) -> float | None:
        """The time of all stages; None if it is not known."""
        known = [stop.elapsed_ms for stop in self.stops if stop.elapsed_ms is not None]
        return round(sum(known), 1) if known else None

    @property
    def bars(self) -> tuple[Bar, ...]:
        """Where the time went."""
        total, begin, found = self.total_ms or 0, 0.0, []
        for stop in self.stops:
            if total and stop.elapsed_ms:
                width = 100 * stop.elapsed_ms / total
                found.append(Bar(round(begin, 2), round(width, 2), _FAILED if stop.state == _FAILED else stop.stage))
                begin += width
        return tuple(found)


# --- of a probe ---


def tracks_of(result: ProbeResult, now: datetime) -> list[Track]:
    """Return the tracks of a probe of a primary: one for each address that the caller may hear of."""
    if not result.stages:
        return [_coarse_track(result, now)]
    return [_probed(each, result, now) for each in result.each]


def _probed(of: ProbeResult, whole: ProbeResult, now: datetime) -> Track:
    reason, fault = of.reason or "", of.at_fault
    stops = tuple(Stop(each.stage, each.state, _fact(each.stage, each.state, of), _ms(each)) for each in of.stages)
    why = _why(of.stage or "", reason, fault, now, str(of.error.code)) if of.error else None
    showed, ours = (of.certificates, whole.client_certificates) if _reached_tls(stops) else ((), ())
    return Track(
        address=str(of.server),
        about="" if of.server == whole.server else "secondary",
        tone=Tone.BAD if of.error else Tone.OK,
        headline=why.happened if why else "Every stage passed.",
        stops=stops,
        why=why,
        showed=links(showed, fault, reason, now),
        ours=links(ours, fault, reason, now),
        warnings=tuple(map(str, _listed(of.learned.get("warnings")))),
    )


def _ms(stage: StageResult) -> float | None:
    return None if stage.state == _SKIPPED else round(stage.elapsed_ms, 1)


def _coarse_track(result: ProbeResult, now: datetime) -> Track:
    """Return the track of a result as accounts of SVMs see it: with a stage, and without a reason."""
    address = str(result.failed_server or result.server)
    if result.error is None:
        return Track(address, "", Tone.OK, "Every stage passed.", _stops("", done=True), None)
    why = _why(result.stage or "", "", None, now, str(result.error.code))
    about = "" if result.failed_server in {None, result.server} else "secondary"
    return Track(address, about, Tone.BAD, why.happened, _stops(result.stage or ""), why)


def _fact(stage: str, state: str, of: ProbeResult) -> str:
    """Return what a stage told, in few words."""
    if state == _SKIPPED:
        return ""
    if state == _FAILED:
        return (of.reason or "failed").replace("_", " ")
    told = of.learned
    facts: Mapping[str, tuple[Any, ...]] = {
        "egress": ("allowed",),
        "resolve": (_resolved(told),),
        "connect": (f"port {of.server.port}",),
        "tls": (told.get("tls_version"), told.get("cipher")),
        "kmip": (f"KMIP {told['kmip_version']}" if "kmip_version" in told else "", told.get("vendor")),
        "credential": ("we are known there", _skew(told.get("clock_skew_s"))),
    }
    return ", ".join(str(fact) for fact in facts[stage] if fact)


def _resolved(told: Mapping[str, object]) -> str:
    address = told.get("address")
    return ServerAddress.parse(address).host if isinstance(address, str) else ""


def _skew(seconds: object) -> str:
    return f"its clock is {abs(seconds)} s off" if isinstance(seconds, int) and seconds else ""


def _listed(value: object) -> Sequence[object]:
    return value if isinstance(value, list | tuple) else ()


# --- of an observation ---


def track_of(seen: Observation, address: ServerAddress, ours: Sequence[PeerCertificate], now: datetime) -> Track:
    """Return the track of the last look that was stored about an address. ``ours`` is the chain that we show.

    Of an account of an SVM, the observation has no reason. A state that is not known has a reason if a look failed
    through our fault.
    """
    failed = seen.state is State.NOT_RESPONDING
    fault = blamed(seen, ours) if failed else None
    why = _why(seen.stage, seen.reason, fault, now) if failed or seen.reason else None
    tone, headline = {
        State.AVAILABLE: (Tone.OK, "Every stage passed."),
        State.UNKNOWN: (Tone.UNKNOWN, "Its state is not known."),
        State.NOT_RESPONDING: (Tone.BAD, ""),
    }[seen.state]
    stops = _stops(seen.stage if failed else "", seen.reason, done=seen.state is State.AVAILABLE)
    showed, ours = (seen.certificates, ours) if _reached_tls(stops) else ((), ())
    return Track(
        address=str(address),
        about="secondary" if seen.host else "",
        tone=tone,
        headline=why.happened if why else headline,
        stops=stops,
        why=why,
        showed=links(showed, fault, seen.reason, now),
        ours=links(ours, fault, seen.reason, now),
    )


def _stops(failed: str, reason: str = "", *, done: bool = False) -> tuple[Stop, ...]:
    """Return the stages of a look that failed at a stage, or that passed (``done``), or of none."""
    if failed not in STAGES:
        return tuple(Stop(stage, _PASSED if done else _SKIPPED, "") for stage in STAGES)
    at = STAGES.index(failed)
    states = [_PASSED] * at + [_FAILED] + [_SKIPPED] * (len(STAGES) - at - 1)
    words = reason.replace("_", " ") or "failed"
    return tuple(
        Stop(stage, state, words if stage == failed else "") for stage, state in zip(STAGES, states, strict=True)
    )


def _reached_tls(stops: Iterable[Stop]) -> bool:
    """Return True if certificates were shown in this look. Those of a look that ended before are of a former one."""
    return any(stop.stage == TLS and stop.state != _SKIPPED for stop in stops)


# --- why, and both chains ---


def _why(stage: str, reason: str, fault: AtFault | None, now: datetime, code: str = "") -> Why:
    known = remedy(reason)
    if known is None:
        happened, _, advice = ABOUT_STAGES.get(stage, "It failed.").partition(": ")
        steps = [f"{advice[:1].upper()}{advice[1:]}"] if advice else []
        steps += [] if reason else [_SEES_MORE]
        return Why(f"{happened.removesuffix('.')}.", "", "", tuple(steps), stage, reason, code)
    steps = [*known.steps, "Probe again."]
    said = _fault(fault, reason, now) if fault else ""
    return Why(known.happened, said, known.who.value, tuple(steps), stage, reason, code)


def _fault(fault: AtFault, reason: str, now: datetime) -> str:
    """Return a sentence about the certificate at fault. An installed CA is in no chain, so its number is told here."""
    of = fault.certificate
    number = f", serial number {of.serial_number}" if fault.whose is Whose.SERVER_CA else ""
    whose = f"The certificate at fault is {_WHOSE[fault.whose]}: {of.subject}{number}"
    if reason in NO_ISSUER:
        return f"{whose}. The CA that is not known is {of.issuer}."
    ends = "ended" if of.not_after <= now else "ends"
    return f"{whose}, issued by {of.issuer}. It {ends} on {of.not_after:%Y-%m-%d %H:%M} UTC."


def links(chain: Sequence[PeerCertificate], fault: AtFault | None, reason: str, now: datetime) -> tuple[Link, ...]:
    """Return a chain with the certificate at fault marked."""
    return tuple(_link(each, reason, now, at_fault=fault is not None and fault.certificate == each) for each in chain)


def _link(of: PeerCertificate, reason: str, now: datetime, *, at_fault: bool) -> Link:
    is_valid = of.not_after > now and (of.not_before is None or of.not_before <= now)
    note = ("its issuer is not known" if reason in NO_ISSUER else "at fault") if at_fault else ""
    return Link(of, Tone.BAD if at_fault or not is_valid else Tone.OK, _ends(of, now), note, is_valid)


def _ends(of: PeerCertificate, now: datetime) -> str:
    if of.not_before is not None and of.not_before > now:
        return f"begins in {span(of.not_before - now)}"
    left = of.not_after - now
    return f"ended {span(-left)} ago" if of.not_after <= now else f"ends in {span(left)}"
