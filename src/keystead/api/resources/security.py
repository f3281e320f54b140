"""``/security``: what the cluster's own listener offers, and what is off. Source: ONTAP REST API reference."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING

from keystead.api.operations import showing
from keystead.api.resource import Field, Resource, always
from keystead.api.values import BOOLEAN, TEXT, integer

if TYPE_CHECKING:
    from keystead.api.declared import Paths
    from keystead.api.request import Request
    from keystead.core.query.query import Wanted
    from keystead.service.ports.process import ListenerTls

PATH = "/api/security"
NO_ONBOARD = "The Onboard Key Manager cannot be configured: keys are kept on external key servers."


def _off(name: str, help_: str, since: str) -> Field:
    """Return a field of something that is not here."""
    return Field(name=name, type=BOOLEAN, help=f"Always false: {help_}", get=always(value=False), since=since)


SECURITY = Resource(
    name="security",
    ontap="SecurityConfig",
    help="Security settings. They cannot be changed over REST. Only for cluster accounts.",
    declared=(
        _off("fips.enabled", "there is no FIPS mode.", "9.8"),
        _off("management_protocols.rsh_enabled", "there is no rsh.", "9.12"),
        _off("management_protocols.telnet_enabled", "there is no telnet.", "9.12"),
        _off("onboard_key_manager_configurable_status.supported", "there is no Onboard Key Manager.", "9.7"),
        Field(
            name="onboard_key_manager_configurable_status.message",
            type=TEXT,
            help="The same as a sentence.",
            get=always(NO_ONBOARD),
            since="9.7",
        ),
        Field(
            name="onboard_key_manager_configurable_status.code",
            type=integer(0, 2**31 - 1),
            help="Always 65537300, ONTAP's code for this.",
            get=always(65537300),
            since="9.7",
        ),
        Field(
            name="tls.protocol_versions",
            type=TEXT,
            help="The versions that the listener of the answering node takes, the newest first.",
            get=attrgetter("protocol_versions"),
            many=True,
            since="9.10",
        ),
        Field(
            name="tls.cipher_suites",
            type=TEXT,
            help="The cipher suites that this listener takes, in its order. It uses those that fit its certificate.",
            get=attrgetter("cipher_suites"),
            many=True,
            since="9.10",
        ),
        _off("tls.offload_enabled", "no network card does TLS here.", "9.16"),
    ),
    link=always(PATH),
    absent=frozenset({"us_federal_cybersecurity"}),
)


async def _show(request: Request, _: Wanted) -> ListenerTls:
    return request.services.listener_tls


PATHS: Paths = {PATH: {"GET": showing(SECURITY, _show)}}
