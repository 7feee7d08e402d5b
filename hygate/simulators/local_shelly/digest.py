"""HTTP digest as a device of the second generation or later asks for it: SHA-256, user ``admin``, realm = device id.

Source: Shelly's "Authentication", with the nonces of firmware 2.0.0: one is valid for an hour and 30,000 requests, its
count begins with 1 and rises. What it does when its slots for nonces are full is not documented to the letter: here
further challenges are refused (429) until the window of two seconds is over, then the oldest nonce makes way.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.request import parse_http_list, parse_keqv_list

USER = "admin"
NONCE_S = 3600.0
NONCE_USES = 30_000
SLOTS = 32
WINDOW_S = 2.0


@dataclass
class _Nonce:
    issued: float
    used: int = 0


@dataclass
class Digest:
    """The device's memory of whom it has challenged; ``password`` empty: everybody may."""

    realm: str
    clock: Callable[[], float]
    password: str = ""
    _nonces: dict[str, _Nonce] = field(default_factory=dict)

    def admits(self, header: str, method: str, uri: str) -> bool:
        """Whether this ``Authorization`` is right for this request, with a nonce of ours that is not used up."""
        if not self.password:
            return True
        said = _fields(header)
        nonce = self._nonces.get(said.get("nonce", ""))
        count = _count(said.get("nc", ""))
        if nonce is None or count is None or said.get("username") != USER or said.get("uri") != uri:
            return False
        if not hmac.compare_digest(said.get("response", ""), self._expected(said, method)):
            return False
        is_young = self.clock() - nonce.issued < NONCE_S and count <= NONCE_USES
        # the first use has to be number one: a count that was never begun is somebody else's
        rises = count == 1 if nonce.used == 0 else count > nonce.used
        if is_young and rises:
            nonce.used = count
        return is_young and rises

    def challenge(self) -> str | None:
        """A new ``WWW-Authenticate``; None where too many were asked for in too short a time."""
        now = self.clock()
        if sum(now - one.issued < WINDOW_S for one in self._nonces.values()) >= SLOTS:
            return None
        while len(self._nonces) >= SLOTS:
            del self._nonces[next(iter(self._nonces))]
        nonce = secrets.token_hex(8)
        self._nonces[nonce] = _Nonce(now)
        return f'Digest qop="auth", realm="{self.realm}", nonce="{nonce}", algorithm=SHA-256'

    def forget(self) -> None:
        """As after a restart: no nonce of before holds."""
        self._nonces.clear()

    def _expected(self, said: dict[str, str], method: str) -> str:
        own = _sha256(f"{USER}:{self.realm}:{self.password}")
        asked = _sha256(f"{method}:{said.get('uri', '')}")
        return _sha256(f"{own}:{said['nonce']}:{said['nc']}:{said.get('cnonce', '')}:auth:{asked}")


def _fields(header: str) -> dict[str, str]:
    scheme, _, rest = header.partition(" ")
    if scheme.lower() != "digest":
        return {}
    try:
        return parse_keqv_list(parse_http_list(rest))
    except ValueError:
        return {}


def _count(text: str) -> int | None:
    """The eight hexadecimal digits of ``nc``."""
    try:
        return int(text, 16) if len(text) == 8 else None
    except ValueError:
        return None


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
