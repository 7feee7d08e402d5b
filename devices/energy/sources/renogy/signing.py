"""How a request proves who sends it. Source: Renogy OpenAPI V0.9, "Signature".

The document's example signs ``/data/history/…`` and "?year=…"; its independent clients sign the full path and the
parameters without "?", and that is the form known to work.
"""

from __future__ import annotations

import base64
import hashlib
import hmac


def signature(path: str, params: str, timestamp_ms: int, secret_key: str) -> str:
    """``path`` is the full one (``/device/list``), ``params`` what follows the "?", empty for none."""
    text = f"{timestamp_ms}.{path}.{params}"
    return base64.b64encode(hmac.digest(secret_key.encode(), text.encode(), hashlib.sha256)).decode("ascii")


def signed_headers(path: str, params: str, timestamp_ms: int, access_key: str, secret_key: str) -> dict[str, str]:
    """The three headers that every request carries; the secret itself never travels."""
    return {
        "Access-Key": access_key,
        "Timestamp": str(timestamp_ms),
        "Signature": signature(path, params, timestamp_ms, secret_key),
    }
