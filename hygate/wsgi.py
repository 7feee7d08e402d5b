"""The web process: granian serves ``application``."""

from __future__ import annotations

import os

from django.core.wsgi import get_wsgi_application

from hygate.checks import refuse_bad_settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hygate.settings")
application = get_wsgi_application()
refuse_bad_settings()

from hygate import clock_watch  # noqa: E402 - its models exist only now

clock_watch.start()
