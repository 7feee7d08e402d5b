"""Who may log in: staff that an administrator made. Nobody signs up by himself."""

from __future__ import annotations

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.mfa.adapter import DefaultMFAAdapter
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import Group
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse

from hygate import audit, secrets
from hygate.models import SiteSettings, User

TEMPORARY = "Temporary password"
"""The group of those whose password somebody else has seen: they choose a new one before anything else."""
MARK = "hygate_new_password"
OPEN_MEANWHILE = ("account_change_password", "account_logout")
WRONG_CODE = "This code is wrong or too old. Type the one that your app shows now."


class StaffAdapter(DefaultAccountAdapter):  # type: ignore[misc]
    error_messages = DefaultAccountAdapter.error_messages | {
        "email_password_mismatch": "The e-mail address or the password is wrong.",
        "enter_current_password": "This is not your current password.",
        "incorrect_password": "This is not your password.",
        "incorrect_code": WRONG_CODE,
    }

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def reauthenticate(self, user: AbstractBaseUser, password: str) -> bool:
        """The person is known: only the password is to be checked."""
        return user.check_password(password)

    def respond_user_inactive(self, request: HttpRequest, user: AbstractBaseUser) -> HttpResponse:
        return render(request, "account/inactive.html", status=403)

    def get_password_change_redirect_url(self, request: HttpRequest) -> str:
        return reverse("mfa_index")

    def add_message(self, *args: Any, **kwargs: Any) -> None:
        """The pages say themselves what happened; a greeting at every login would only be in the way."""


class SecondFactorAdapter(DefaultMFAAdapter):  # type: ignore[misc]
    """Secrets of authenticator apps are kept like every other secret: encrypted with our field keys."""

    error_messages = DefaultMFAAdapter.error_messages | {"incorrect_code": WRONG_CODE}

    def encrypt(self, text: str) -> str:
        return secrets.encrypt(text)

    def decrypt(self, encrypted_text: str) -> str:
        return secrets.decrypt(encrypted_text)

    def get_totp_issuer(self) -> str:
        return f"Hygate {SiteSettings.current().company}"


def temporary_password(user: User, *, is_temporary: bool) -> None:
    """Remember whether ``user`` has to choose a password, for every login until it is done."""
    group, _ = Group.objects.get_or_create(name=TEMPORARY)
    if is_temporary:
        user.groups.add(group)
    else:
        user.groups.remove(group)


def on_login(request: HttpRequest, user: User, **_: Any) -> None:
    """allauth's signal: every step of the login is done, the second factor included."""
    if user.groups.filter(name=TEMPORARY).exists():
        request.session[MARK] = True
    audit.write("login", actor=f"user:{user.pk}")


def on_own_password(request: HttpRequest, user: User, **_: Any) -> None:
    """allauth's signal: the person has chosen a password."""
    request.session.pop(MARK, None)
    temporary_password(user, is_temporary=False)
    audit.write("password_changed", actor=f"user:{user.pk}")


def on_second_factor(kind: str) -> Any:
    """A receiver that audits what a person did to his second factor."""

    def receiver(user: User, authenticator: Any, **_: Any) -> None:
        audit.write(kind, actor=f"user:{user.pk}", factor=str(authenticator.type))

    return receiver


class NewPasswordFirst:
    """Whoever came with a temporary password sees nothing but the page that changes it."""

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response: HttpResponse = self.get_response(request)
        return response

    def process_view(self, request: HttpRequest, *_: Any) -> HttpResponse | None:
        match = request.resolver_match
        if match is None or not match.route.startswith(("dashboard/", "account/")):
            return None
        if not request.session.get(MARK) or not request.user.is_authenticated or match.url_name in OPEN_MEANWHILE:
            return None
        target = reverse("account_change_password")
        if request.headers.get("HX-Request") == "true":
            return HttpResponse(status=204, headers={"HX-Redirect": target})
        return redirect(target)
