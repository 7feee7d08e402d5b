"""A second factor for everybody: switched on by an administrator who has one; who has none sets one up first."""

from __future__ import annotations

from typing import Any

from allauth.mfa.models import Authenticator
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse

from hygate import audit
from hygate.context import SITE
from hygate.models import SiteSettings, User
from hygate.team import NotAllowed


def has_one(user: User) -> bool:
    return bool(Authenticator.objects.filter(user=user, type=Authenticator.Type.TOTP).exists())


def require(*, required: bool, by: User) -> bool:
    """Switch the rule on or off; False when it was so already. Raises ``NotAllowed`` for who would lock himself out."""
    if required and not has_one(by):
        raise NotAllowed("Set up a second factor for yourself first, under your own login.")
    with transaction.atomic():
        SiteSettings.objects.get_or_create(pk=1)
        rows = SiteSettings.objects.filter(pk=1).exclude(second_factor_required=required)
        moved = rows.update(second_factor_required=required)
        if moved:
            kind = "second_factor_required" if required else "second_factor_optional"
            audit.write(kind, actor=f"user:{by.pk}")
    return bool(moved)


class SecondFactorFirst:
    """While the rule is on, who has no second factor sees nothing of the dashboard but the page where one is set up."""

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response: HttpResponse = self.get_response(request)
        return response

    def process_view(self, request: HttpRequest, *_: Any) -> HttpResponse | None:
        match, user = request.resolver_match, request.user
        if match is None or not match.route.startswith("dashboard/") or not isinstance(user, User):
            return None
        site = request.META[SITE] = request.META.get(SITE) or SiteSettings.current()
        if not site.second_factor_required or has_one(user):
            return None
        target = reverse("mfa_index")
        if request.headers.get("HX-Request") == "true":
            return HttpResponse(status=204, headers={"HX-Redirect": target})
        return redirect(target)
