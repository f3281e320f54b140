"""The reasons why a probe of a key server fails: what to do about each fixed word.

:mod:`keystead.keyservers.failures` gives these reasons. ``docs/reference/reasons.md`` is generated from both modules.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

ADVICE: Final[Mapping[str, str]] = {
    "address_not_allowed": "An egress rule refuses the address, which is this host's, link-local, multicast, a"
    " cloud's metadata service, or outside of KEYSTEAD_EGRESS_ONLY: if the key server really is there, list its"
    " network in KEYSTEAD_EGRESS_ALLOW, and in KEYSTEAD_EGRESS_ONLY if that is set. Then start Keystead again.",
    "name_not_resolved": "The host name has no address: check its spelling, and the DNS servers of the Keystead host.",
    "connection_refused": "The host answers but nothing listens on the port: check the port (KMIP's is 5696) and that"
    " the KMIP service is started.",
    "unreachable": "There is no route to the address: check the network, VLAN and gateway of the Keystead host.",
    "connect_timed_out": "Nothing answered: check that the host is up, and that no firewall drops the packets.",
    "client_certificate_expired": "Our client certificate has expired: install a new one and use it for the key"
    " manager.",
    "client_certificate_not_yet_valid": "Our client certificate starts in the future: check the clock of the Keystead"
    " host.",
    "client_certificate_key_mismatch": "The private key does not belong to the client certificate: install both again.",
    "server_certificate_self_signed": "The server's chain ends in a certificate that is not among"
    " server_ca_certificates: install the CA that issued the server's certificate, and add it to the key manager's"
    " server_ca_certificates.",
    "server_certificate_issuer_not_found": "The issuer of the server's certificate is unknown: install the right CA, or"
    " the intermediate CA as well if the server does not send it. Then add it to the key manager's"
    " server_ca_certificates.",
    "server_certificate_invalid_ca": "A certificate in the server's chain may not issue certificates: look at its basic"
    " constraints and key usage.",
    "server_certificate_not_yet_valid": "The server's certificate starts in the future: compare both clocks.",
    "server_certificate_expired": "The server's certificate has expired: renew it on the key server.",
    "server_certificate_revoked": "The server's certificate was revoked: renew it on the key server.",
    "server_certificate_wrong_purpose": "The server's certificate is not for TLS servers: issue one whose"
    " extended key usage has serverAuth.",
    "server_certificate_weak": "The server's certificate, or its CA's, has a key below 2048 bits RSA or a SHA-1"
    " signature: issue a stronger one.",
    "server_certificate_wrong_name": "The server's certificate does not name the host or address that was given: use"
    " the name in its subject alternative names, give that name as tls_server_name, or issue a certificate that fits.",
    "no_common_cipher": "The server accepts none of our cipher suites (Diffie-Hellman over a prime field, DHE, is"
    " not offered): enable ECDHE with AES-GCM or AES-CBC-SHA2.",
    "no_common_tls_version": "The server speaks neither TLS 1.2 nor TLS 1.3: enable one of them.",
    "tls_too_weak": "The server demands stronger parameters than were agreed: look at its TLS policy.",
    "client_certificate_required": "The server did not accept what we sent as a client certificate: check that its KMIP"
    " port trusts the CA of our client certificate.",
    "client_certificate_untrusted": "The server does not know the CA of our client certificate: install that CA on the"
    " key server.",
    "client_certificate_revoked": "The server says that our client certificate is revoked: install a new one.",
    "client_certificate_refused": "The server refuses our client certificate: check that its extended key usage"
    " allows clientAuth; on some appliances, upload or approve it first.",
    "client_certificate_probably_refused": "The server closed the connection when it saw our client certificate,"
    " without saying why: check that it trusts the CA, and that the client is registered.",
    "client_certificate_not_registered": "The server trusts our client certificate, but no client is registered"
    " with it: register one; on GKLM, accept the certificate on its pending list; on CipherTrust, register a client"
    " with this certificate.",
    "server_name_not_recognised": "The server does not serve the host name that was given: use the name it knows.",
    "not_tls": "What answers on this port is not TLS: check the port, or a proxy in between.",
    "legacy_tls": "The server's TLS is too old to be safe: update it.",
    "connection_closed": "The server, or a device in between, closed the connection: look at the server's log and its"
    " list of allowed clients.",
    "tls_timed_out": "The server took the connection and stopped: look at its load, and check that the port is KMIP's.",
    "credential_refused": "The server refuses the username or the password: check both, and that the user is enabled"
    " for KMIP.",
    "operation_not_permitted": "The server knows us but permits nothing: give the client or user its permissions.",
    "discover_versions_failed": "The server refuses to tell its KMIP versions: look at its log.",
    "no_common_version": "The server speaks no KMIP version from 1.0 to 2.1: enable one of them.",
    "no_answer": "TLS is up but no answer came in time: raise the time-out, or look at the server's load.",
    "malformed_answer": "What answers is not KMIP in TTLV: check the port (some servers offer REST and KMIP side by"
    " side).",
    "answer_too_large": "The answer exceeds 64 KiB, so it is probably not KMIP: check the port.",
    "operation_failed": "The server refuses an ordinary operation: look at its log.",
    "operation_timed_out": "The server answers too slowly (a check in the background waits 3 s, a probe as long"
    " as the server's time-out): look at its load.",
    "engine_error": "The TLS or KMIP engine failed in a way that has no row of its own: look at the service's log.",
}
"""One line per reason: what happened, a colon, then what to do in sentences, or clauses with semicolons between."""
