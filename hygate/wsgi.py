"""The web process: granian serves ``application``."""

from __future__ import annotations

import os

from django.core.wsgi import get_wsgi_application
from django.urls import reverse

from hygate.checks import refuse_bad_settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hygate.settings")
application = get_wsgi_application()
refuse_bad_settings()

from hygate import clock_watch, memory  # noqa: E402 - its models exist only now

reverse("healthz")  # loads every page's module, before the first guest waits for it
memory.keep_what_is_loaded()
clock_watch.start()
