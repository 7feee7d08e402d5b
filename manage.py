#!/usr/bin/env python3
"""Hygate's command line: ``python manage.py help`` lists what it can do."""

from __future__ import annotations

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hygate.settings")
    command = sys.argv[1] if len(sys.argv) > 1 else ""
    if command == "simulate":
        os.environ.setdefault("HYGATE_SIMULATED", "1")
    elif command in ("demo", "smoke"):
        from hygate.demo import environment

        environment.enter()
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
