"""The product's settings, pointed at its simulators before they are read; a real site's shell changes nothing here."""

from __future__ import annotations

import os

from hygate.demo.environment import SITE

for _name in [name for name in os.environ if name.startswith((*SITE, "HYGATE_VAR_DIR"))]:
    del os.environ[_name]
os.environ["HYGATE_SIMULATED"] = "1"

from hygate.settings import *  # noqa: E402, F403
