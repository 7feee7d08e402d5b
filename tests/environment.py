"""Loaded before Django's settings (``-p tests.environment``): tests run in simulation, without a broker."""

from __future__ import annotations

import os
import tempfile

os.environ["HYGATE_SIMULATED"] = "1"
os.environ.setdefault("HYGATE_VAR_DIR", tempfile.mkdtemp(prefix="hygate-test-"))
for name in ("BROKER_URL", "HYGATE_DEBUG", "HYGATE_BASE_URL"):
    os.environ.pop(name, None)
if os.environ.get("HYGATE_TEST_PG_URL"):
    os.environ["DATABASE_URL"] = os.environ["HYGATE_TEST_PG_URL"]
else:
    os.environ.pop("DATABASE_URL", None)
