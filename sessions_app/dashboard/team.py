"""The team page: who may log in, as what. For administrators."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, cast

import structlog
from allauth.mfa.models import Authenticator
from django import forms
from django.conf import settings
from django.db.models import Exists, OuterRef
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from hygate import invitations, team
from hygate.models import Role, User
from hygate.roles import View, administrator_only
from sessions_app.dashboard import frame
from sessions_app.dashboard.forms import PlainForm

HERE = "team"
log = structlog.get_logger(__name__)
PersonView = Callable[[HttpRequest, User, User], HttpResponse]


class PersonForm(PlainForm):
    email = forms.EmailField(label="E-mail address", widget=forms.EmailInput(attrs={"autofocus": True}))
    name = forms.CharField(max_length=150, help_text="As colleagues see it in the timeline.")
    role = forms.ChoiceField(choices=Role.choices, initial=Role.OPERATOR)
    invite = forms.BooleanField(
        required=False,
        initial=True,
        label=f"Mail an invitation: a link to choose a password, good once and for {invitations.DAYS} days",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not settings.SENDS_MAIL:
            del self.fields["invite"]


class RoleForm(PlainForm):
    role = forms.ChoiceField(
        choices=Role.choices,
        help_text="Administrators see keys, settings and the team; operators do the daily work.",
    )


@require_safe
@administrator_only
def people(request: HttpRequest) -> HttpResponse:
    protected = Exists(Authenticator.objects.filter(user=OuterRef("pk"), type=Authenticator.Type.TOTP))
    rows = list(User.objects.annotate(second_factor=protected).order_by("-is_active", "role", "first_name", "email"))
    context = {"rows": rows, "alone": len(rows) == 1, "invites": settings.SENDS_MAIL}
    return frame.page(request, "team.html", context, here=HERE)


@administrator_only
def add(request: HttpRequest) -> HttpResponse:
    form = PersonForm(request.POST or None)
    if form.is_valid():
        told = dict(form.cleaned_data)
        welcome = _invited if told.pop("invite", False) else _handed_over
        try:
            return welcome(request, told, cast(User, request.user))
        except team.NotAllowed as refusal:
            form.add_error("email", str(refusal))
    back = reverse("dashboard:team")
    return frame.dialog(request, form, title="Add a colleague", submit="Add", back=back, here=HERE)


def _handed_over(request: HttpRequest, told: dict[str, Any], by: User) -> HttpResponse:
    return hand_over(request, *team.add_person(**told, by=by))


def _invited(request: HttpRequest, told: dict[str, Any], by: User) -> HttpResponse:
    """By mail; where the server does not take it, a password to hand over ends the link that may be on its way."""
    person = team.invite_person(**told, by=by)
    if not _mailed(person, by):
        return hand_over(request, person, team.reset_password(person=person, by=by), not_mailed=True)
    return frame.done(request, reverse("dashboard:team"), f"{person} is invited: the mail is on its way.")


def _mailed(person: User, by: User) -> bool:
    try:
        invitations.send(person, by=by)
    except OSError as error:  # every SMTP error is one
        log.warning("invitation.not_sent", person=person.pk, error=type(error).__name__)
        return False
    return True


def hand_over(request: HttpRequest, person: User, password: str, *, not_mailed: bool = False) -> HttpResponse:
    """The only time that the password is shown; neither the browser nor a proxy keeps the page."""
    title = f"Password of {person}"
    context = {"person": person, "password": password, "title": title, "not_mailed": not_mailed}
    if request.headers.get("HX-Request") == "true":
        response = render(request, "dashboard/_password.html", context)
    else:
        response = frame.page(request, "password.html", context, here=HERE)
    response["Cache-Control"] = "no-store"
    return response


def about_a_person(view: PersonView) -> View:
    """Looks the person up, and turns a refusal into its sentence on the team page."""

    @wraps(view)
    def inner(request: HttpRequest, pk: int) -> HttpResponse:
        person = get_object_or_404(User, pk=pk)
        try:
            return view(request, person, cast(User, request.user))
        except team.NotAllowed as refusal:
            return frame.refused(request, reverse("dashboard:team"), str(refusal))

    return administrator_only(inner)


@about_a_person
def role(request: HttpRequest, person: User, by: User) -> HttpResponse:
    form = RoleForm(request.POST or None, initial={"role": person.role})
    back = reverse("dashboard:team")
    if form.is_valid():
        team.set_role(person=person, role=form.cleaned_data["role"], by=by)
        return frame.done(request, back, f"{person} is {Role(form.cleaned_data['role']).label.lower()} now.")
    return frame.dialog(request, form, title=f"Role of {person}", submit="Save", back=back, here=HERE)


@about_a_person
def password(request: HttpRequest, person: User, by: User) -> HttpResponse:
    if request.method == "POST":
        return hand_over(request, person, team.reset_password(person=person, by=by))
    return _ask(
        request,
        f"New password for {person}?",
        "The old one stops working at once, and the person is logged out everywhere. You see the new one once.",
        "Make a new password",
    )


@require_POST
@about_a_person
def invite_again(request: HttpRequest, person: User, by: User) -> HttpResponse:
    back = reverse("dashboard:team")
    team.invite_again(person=person, by=by)
    if not _mailed(person, by):
        said = "The mail server did not take the invitation. Send it again later, or make a password to hand over."
        return frame.refused(request, back, said)
    return frame.done(request, back, f"{person} is invited once more: the mail is on its way.")


@about_a_person
def second_factor(request: HttpRequest, person: User, by: User) -> HttpResponse:
    if request.method == "POST":
        removed = team.remove_second_factor(person=person, by=by)
        said = f"{person} logs in with the password alone now." if removed else f"{person} had no second factor."
        return frame.done(request, reverse("dashboard:team"), said)
    return _ask(
        request,
        f"Remove the second factor of {person}?",
        "For a lost phone. Be sure that it is really your colleague who asks for it.",
        "Remove it",
    )


def _ask(request: HttpRequest, title: str, text: str, submit: str) -> HttpResponse:
    back = reverse("dashboard:team")
    return frame.dialog(request, None, title=title, submit=submit, back=back, here=HERE, text=text, danger=True)


def _switch(is_active: bool) -> PersonView:
    def view(request: HttpRequest, person: User, by: User) -> HttpResponse:
        team.set_active(person=person, is_active=is_active, by=by)
        said = f"{person} can log in again." if is_active else f"{person} is logged out and cannot log in any more."
        return frame.done(request, reverse("dashboard:team"), said)

    return view


activate: Any = require_POST(about_a_person(_switch(True)))
deactivate: Any = require_POST(about_a_person(_switch(False)))
