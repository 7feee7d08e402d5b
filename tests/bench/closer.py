"""A closer look at one page: what it asks of the database, and what it weighs with everything it loads."""

from __future__ import annotations

import re
from urllib.parse import urldefrag, urljoin

from tests import loopback

ASSET = re.compile(r"""<(?:link|script|img|use)\b[^>]*?\b(?:href|src)="([^"]+)\"""")


def queries(address: str, cookies: dict[str, str] | None = None) -> float:
    """What the second visit asks of the database."""
    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext

    client = Client(SERVER_NAME="127.0.0.1")
    client.cookies.load(cookies or {})
    client.get(address)
    with CaptureQueriesContext(connection) as asked:
        answer = client.get(address)
    assert answer.status_code == 200, f"{address} answered {answer.status_code}"
    return float(len(asked))


def weight_kb(url: str, cookies: dict[str, str] | None = None) -> float:
    """Bytes on the wire for the page and everything it loads, each once, as a browser asks for them."""
    with loopback.client(timeout=10, cookies=cookies) as client:
        page = client.get(url)
        assert page.status_code == 200, f"{url} answered {page.status_code}"
        total = page.num_bytes_downloaded
        for asset in assets(url, page.text):
            answer = client.get(asset)
            total += answer.num_bytes_downloaded if answer.status_code == 200 else 0
    return round(total / 1000, 1)


def assets(url: str, html: str) -> list[str]:
    """The addresses that a page loads, each once; the parts of one file of icons are one."""
    return sorted({urldefrag(urljoin(url, one)).url for one in ASSET.findall(html) if not one.startswith("data:")})
