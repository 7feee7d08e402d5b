"""A colleague chooses the first password behind a link that was mailed: nobody else has ever seen it.

Nothing of the link is kept. It is signed over the person's row, so that it ends with the password that was chosen, with
one that an administrator has set meanwhile, when the person is switched off, and after some days.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth.forms import SetPasswordForm
from django.contrib.auth.tokens import PasswordResetTokenGenerator
from django.contrib.auth.views import PasswordResetConfirmView
from django.core.mail import EmailMessage
from django.db import transaction
from django.http import HttpResponse
from django.urls import reverse, reverse_lazy
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode

from hygate import audit
from hygate.models import SiteSettings, User

DAYS = settings.PASSWORD_RESET_TIMEOUT // 86_400


class Tokens(PasswordResetTokenGenerator):
    """An invitation is no password reset, nor the other way round."""

    key_salt = "hygate.invitations"

    def _make_hash_value(self, user: User, timestamp: int) -> str:
        return f"{super()._make_hash_value(user, timestamp)}{user.is_active}"


tokens = Tokens()


def link(person: User) -> str:
    key = urlsafe_base64_encode(force_bytes(person.pk))
    path = reverse("invitation", kwargs={"uidb64": key, "token": tokens.make_token(person)})
    return f"{settings.BASE_URL}{path}"


def send(person: User, *, by: User) -> None:
    """Mail the link, outside of any transaction. ``OSError`` where the mail server does not take it."""
    company = " ".join(SiteSettings.current().company.split()) or "Hygate"
    lines = [
        f"{by} invites you to the dashboard of {company}.",
        "",
        "Choose your password here:",
        link(person),
        "",
        f"The link is good once and for {DAYS} days. Then log in with {person.email}.",
    ]
    made = EmailMessage(
        subject=f"[{company}] Your login",
        body="\n".join(lines) + "\n",
        to=[person.email],
        headers={"Auto-Submitted": "auto-generated"},
    )
    made.send()


class FirstPassword(SetPasswordForm):  # type: ignore[type-arg]
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["new_password1"].label = "Password"
        self.fields["new_password2"].label = "The password again"


class Accept(PasswordResetConfirmView):
    """Django's own view: it takes the token out of the address before it shows the form."""

    template_name = "account/invitation.html"
    form_class = FirstPassword
    token_generator = tokens
    success_url = reverse_lazy("account_login")

    def form_valid(self, form: Any) -> HttpResponse:
        with transaction.atomic():
            answer: HttpResponse = super().form_valid(form)
            audit.write("invitation_accepted", actor=f"user:{form.user.pk}")
        return answer

    def render_to_response(self, context: dict[str, Any], **more: Any) -> HttpResponse:
        return super().render_to_response(context, **({} if self.validlink else {"status": 410}) | more)


accept = Accept.as_view()
