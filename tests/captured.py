"""The captured answers of real devices, plants and accounts, where they are kept: ``HYGATE_PAYLOADS`` names their
folder, with one folder in it for each maker."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ALL = Path(os.environ.get("HYGATE_PAYLOADS", Path(__file__).resolve().parents[1] / ".." / "shared" / "fixtures"))
SHELLY, SIGENERGY, RENOGY = ALL / "shelly", ALL / "sigenergy", ALL / "renogy"
needs_shelly = pytest.mark.skipif(not SHELLY.is_dir(), reason="the shared Shelly payloads are not here")
needs_sigenergy = pytest.mark.skipif(not SIGENERGY.is_dir(), reason="the shared Sigenergy payloads are not here")
needs_renogy = pytest.mark.skipif(not RENOGY.is_dir(), reason="the shared Renogy payloads are not here")
