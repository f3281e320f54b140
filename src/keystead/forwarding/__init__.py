"""The way out to destinations: syslog (RFC 5424 in frames of RFC 6587) and webhooks."""
