"""The captured answers of real plants and accounts, where they are kept: ``HYGATE_PAYLOADS`` names Shelly's folder, and
the others lie beside it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[3] / ".." / "shared" / "fixtures"
ALL = Path(os.environ.get("HYGATE_PAYLOADS", SHARED / "shelly")).parent
SIGENERGY, RENOGY = ALL / "sigenergy", ALL / "renogy"
needs_sigenergy = pytest.mark.skipif(not SIGENERGY.is_dir(), reason="the shared Sigenergy payloads are not here")
needs_renogy = pytest.mark.skipif(not RENOGY.is_dir(), reason="the shared Renogy payloads are not here")
