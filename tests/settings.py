"""The product's settings, pointed at its simulators before they are read; a real site's shell changes nothing here.

``HYGATE_TEST_PG_URL`` runs the same tests on that PostgreSQL server instead of SQLite.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

from hygate.demo.environment import SITE

for _name in [name for name in os.environ if name.startswith((*SITE, "HYGATE_VAR_DIR"))]:
    if _name != "HYGATE_TEST_PG_URL":
        del os.environ[_name]
os.environ["HYGATE_SIMULATED"] = "1"
# a test that brings no simulator of its own reaches nobody, not even a demo that runs beside it
os.environ["HYGATE_STRIPE_API_BASE"] = os.environ["HYGATE_SHELLY_URL"] = "http://127.0.0.1:9"
os.environ["HYGATE_VAR_DIR"] = tempfile.mkdtemp(prefix="hygate-test-")
atexit.register(shutil.rmtree, os.environ["HYGATE_VAR_DIR"], ignore_errors=True)
if os.environ.get("HYGATE_TEST_PG_URL"):
    os.environ["DATABASE_URL"] = os.environ["HYGATE_TEST_PG_URL"]

from hygate.settings import *  # noqa: E402, F403
