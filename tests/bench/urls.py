"""The product's addresses, and beside them a view that does the least a page can do: one row by its key."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.urls import include, path

from sessions_app.models import DeviceSession

BARE_BYTES = 200


def bare(request: HttpRequest, pk: int) -> HttpResponse:
    """One select by primary key, 200 bytes, behind the same middleware as every page."""
    reference = DeviceSession.objects.values_list("reference", flat=True).get(pk=pk)
    return HttpResponse(reference.ljust(BARE_BYTES, "."), content_type="text/plain")


urlpatterns = [path("bench/bare/<int:pk>/", bare), path("", include("hygate.urls"))]
