"""HTTP to this machine: httpx reads the system's certificates anew for every client, and nothing here speaks TLS."""

from __future__ import annotations

import ssl
from typing import Any

import httpx

NO_CERTIFICATES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
NONE_KEPT = httpx.Limits(max_keepalive_connections=0)


def client(**options: Any) -> httpx.Client:
    """``httpx.Client``, 20 ms sooner."""
    return httpx.Client(verify=NO_CERTIFICATES, trust_env=False, **options)


_shared = client(limits=NONE_KEPT)
"""For single requests: servers come and go under the same port, so no connection outlives its request."""
request, get, post, delete = _shared.request, _shared.get, _shared.post, _shared.delete
