"""The product's settings with one more language, which no guest is offered: English two fifths longer, with accents."""

from __future__ import annotations

from hygate.settings import *  # noqa: F403
from hygate.settings import LANGUAGES, LOCALE_PATHS, VAR_DIR

LANGUAGES = [*LANGUAGES, ("en-xa", "Pseudo")]
LOCALE_PATHS = [VAR_DIR / "locale", *LOCALE_PATHS]
