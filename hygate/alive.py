"""Does the web process beside us answer? ``python -m hygate.alive`` is the image's health check: no Django, no wait."""

from __future__ import annotations

import os
import sys
import urllib.request
from collections.abc import Mapping
from urllib.parse import urlsplit

WITHIN_S = 4.0


def request(environ: Mapping[str, str] = os.environ) -> urllib.request.Request:
    """``/healthz`` on this machine, asked for under the site's own name: Hygate answers to no other."""
    host = urlsplit(environ.get("HYGATE_BASE_URL", "")).netloc or "127.0.0.1"
    port = environ.get("GRANIAN_PORT", "8000")
    return urllib.request.Request(f"http://127.0.0.1:{port}/healthz", headers={"Host": host})


def main() -> None:
    try:
        with urllib.request.urlopen(request(), timeout=WITHIN_S) as answer:  # noqa: S310 - our own
            status = answer.status
    except OSError as error:
        sys.exit(f"The pages do not answer: {error}")
    if status != 200:
        sys.exit(f"The pages answer {status} instead of 200.")


if __name__ == "__main__":
    main()
