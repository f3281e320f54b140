"""Message headers and their parts: protocol version, credentials, nonce (KMIP 1.4 sections 6 and 7.2).

Fields are in the order of the specification's tables. Passwords are secret fields: never in a ``repr``.
"""

from __future__ import annotations

from typing import Final

from keystead.kmip.ttlv import enums, tags
from keystead.kmip.ttlv.kinds import Raw, Select
from keystead.kmip.ttlv.schema import Structure, field, structure
from keystead.kmip.ttlv.ttlv import Item, ItemType
from keystead.kmip.ttlv.versions import V1_2, V1_4, V2_0, Version


@structure(tags.PROTOCOL_VERSION)
class ProtocolVersion(Structure):
    """Protocol Version (KMIP 1.4 section 6.1)."""

    major: int = field(tags.PROTOCOL_VERSION_MAJOR, ItemType.INTEGER)
    minor: int = field(tags.PROTOCOL_VERSION_MINOR, ItemType.INTEGER)

    @property
    def version(self) -> Version:
        """The version as a plain tuple, which can be compared."""
        return self.major, self.minor


@structure()
class UsernameAndPassword(Structure):
    """Credential Value of type Username and Password (KMIP 1.4 section 2.1.2)."""

    username: str = field(tags.USERNAME, ItemType.TEXT_STRING)
    password: str | None = field(tags.PASSWORD, ItemType.TEXT_STRING, default=None, secret=True)


@structure()
class Device(Structure):
    """Credential Value of type Device (KMIP 1.4 section 2.1.2). At least one field is needed."""

    device_serial_number: str | None = field(tags.DEVICE_SERIAL_NUMBER, ItemType.TEXT_STRING, default=None)
    password: str | None = field(tags.PASSWORD, ItemType.TEXT_STRING, default=None, secret=True)
    device_identifier: str | None = field(tags.DEVICE_IDENTIFIER, ItemType.TEXT_STRING, default=None)
    network_identifier: str | None = field(tags.NETWORK_IDENTIFIER, ItemType.TEXT_STRING, default=None)
    machine_identifier: str | None = field(tags.MACHINE_IDENTIFIER, ItemType.TEXT_STRING, default=None)
    media_identifier: str | None = field(tags.MEDIA_IDENTIFIER, ItemType.TEXT_STRING, default=None)


_CREDENTIAL_VALUES: Final = {
    enums.CredentialType.USERNAME_AND_PASSWORD: UsernameAndPassword,
    enums.CredentialType.DEVICE: Device,
}


@structure(tags.CREDENTIAL)
class Credential(Structure):
    """Credential (KMIP 1.4 section 2.1.2). The values of other types are raw."""

    credential_type: int = field(tags.CREDENTIAL_TYPE, enums.CredentialType)
    credential_value: UsernameAndPassword | Device | Item = field(
        tags.CREDENTIAL_VALUE, Select(_CREDENTIAL_VALUES, "credential_type")
    )


@structure(tags.AUTHENTICATION)
class Authentication(Structure):
    """Authentication (KMIP 1.4 section 6.6). From 1.2 on it may hold several credentials."""

    credential: tuple[Credential, ...] = field(tags.CREDENTIAL, Credential, default=())


@structure(tags.NONCE)
class Nonce(Structure):
    """Nonce, with which a server asks for attestation (KMIP 1.4 section 2.1.14)."""

    nonce_id: bytes = field(tags.NONCE_ID, ItemType.BYTE_STRING)
    nonce_value: bytes = field(tags.NONCE_VALUE, ItemType.BYTE_STRING)


@structure(tags.REQUEST_HEADER)
class RequestHeader(Structure):
    """Request Header (KMIP 1.4 section 7.2). Asynchronous Indicator is a Boolean in 1.x and an Enumeration in 2.x."""

    protocol_version: ProtocolVersion = field(tags.PROTOCOL_VERSION, ProtocolVersion)
    maximum_response_size: int | None = field(tags.MAXIMUM_RESPONSE_SIZE, ItemType.INTEGER, default=None)
    client_correlation_value: str | None = field(
        tags.CLIENT_CORRELATION_VALUE, ItemType.TEXT_STRING, default=None, since=V1_4
    )
    server_correlation_value: str | None = field(
        tags.SERVER_CORRELATION_VALUE, ItemType.TEXT_STRING, default=None, since=V1_4
    )
    asynchronous_indicator: Item | None = field(tags.ASYNCHRONOUS_INDICATOR, Raw(), default=None)
    attestation_capable_indicator: bool | None = field(
        tags.ATTESTATION_CAPABLE_INDICATOR, ItemType.BOOLEAN, default=None, since=V1_2
    )
    attestation_type: tuple[int, ...] = field(tags.ATTESTATION_TYPE, ItemType.ENUMERATION, default=(), since=V1_2)
    authentication: Authentication | None = field(tags.AUTHENTICATION, Authentication, default=None)
    batch_error_continuation_option: int | None = field(
        tags.BATCH_ERROR_CONTINUATION_OPTION, enums.BatchErrorContinuationOption, default=None
    )
    batch_order_option: bool | None = field(tags.BATCH_ORDER_OPTION, ItemType.BOOLEAN, default=None)
    time_stamp: int | None = field(tags.TIME_STAMP, ItemType.DATE_TIME, default=None)
    batch_count: int = field(tags.BATCH_COUNT, ItemType.INTEGER, kw_only=True)


@structure(tags.RESPONSE_HEADER)
class ResponseHeader(Structure):
    """Response Header (KMIP 1.4 section 7.2). Time Stamp is required, but an answer without it is accepted."""

    protocol_version: ProtocolVersion = field(tags.PROTOCOL_VERSION, ProtocolVersion)
    time_stamp: int | None = field(tags.TIME_STAMP, ItemType.DATE_TIME, default=None)
    nonce: Nonce | None = field(tags.NONCE, Nonce, default=None, since=V1_2)
    server_hashed_password: bytes | None = field(
        tags.SERVER_HASHED_PASSWORD, ItemType.BYTE_STRING, default=None, since=V2_0, secret=True
    )
    attestation_type: tuple[int, ...] = field(tags.ATTESTATION_TYPE, ItemType.ENUMERATION, default=(), since=V1_2)
    client_correlation_value: str | None = field(
        tags.CLIENT_CORRELATION_VALUE, ItemType.TEXT_STRING, default=None, since=V1_4
    )
    server_correlation_value: str | None = field(
        tags.SERVER_CORRELATION_VALUE, ItemType.TEXT_STRING, default=None, since=V1_4
    )
    batch_count: int = field(tags.BATCH_COUNT, ItemType.INTEGER, kw_only=True)


def username_credential(username: str, password: str | None) -> Credential:
    """Return the Credential of a username, with a password unless it is ``None``."""
    return Credential(enums.CredentialType.USERNAME_AND_PASSWORD, UsernameAndPassword(username, password))
