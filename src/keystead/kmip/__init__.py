"""KMIP 1.0 to 2.1: a protocol library that needs only the standard library and can be used alone."""

from keystead.kmip.client.client import Client
from keystead.kmip.ttlv.errors import (
    KMIPError,
    LocalProtocolError,
    NoCommonVersion,
    OperationFailed,
    RemoteProtocolError,
    TransportError,
    TTLVError,
)

__all__ = [
    "Client",
    "KMIPError",
    "LocalProtocolError",
    "NoCommonVersion",
    "OperationFailed",
    "RemoteProtocolError",
    "TTLVError",
    "TransportError",
]
