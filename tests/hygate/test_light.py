"""What a process carries that never prints: workers, the sweep and the watcher start without the libraries for PDFs."""

from __future__ import annotations

import os
import subprocess
import sys

START = """
import django; django.setup()
import hygate.celery, hygate.urls, devices.energy.watching.watcher, sys
print(*sorted({"fpdf", "fontpkg", "fontTools"} & set(sys.modules)))
"""


def test_pdf_libraries_are_loaded_by_who_prints_only() -> None:
    """In a process of its own: this one has printed already."""
    environ = os.environ | {"DJANGO_SETTINGS_MODULE": "hygate.settings", "HYGATE_SIMULATED": "1"}
    asked = subprocess.run([sys.executable, "-c", START], env=environ, capture_output=True, text=True, check=True)
    assert asked.stdout.split() == []
