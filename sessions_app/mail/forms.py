"""A guest's address: one field, checked on our side alone."""

from __future__ import annotations

from django import forms
from django.http import HttpRequest
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from hygate import attempts
from hygate.attempts import Limit, TooOften
from hygate.logins import address_of
from sessions_app.mail import services
from sessions_app.mail.models import MailKind
from sessions_app.mail.services import Asked
from sessions_app.models import DeviceSession, QueueEntry

PER_NETWORK_ADDRESS = Limit(10, 3600)


class AddressOnly(forms.Form):
    email = forms.EmailField(max_length=254)


def asked_for(
    request: HttpRequest, kind: MailKind, *, session: DeviceSession | None = None, entry: QueueEntry | None = None
) -> str:
    """Take the address that was posted and ask for the mail; answers why not, or nothing when it will be sent."""
    form = AddressOnly(request.POST)
    if not form.is_valid():
        return _("This is not an e-mail address. Nothing was sent.")
    if isinstance(attempts.take(f"mail@{address_of(request)}", PER_NETWORK_ADDRESS), TooOften):
        return _("Too many messages were asked for from your network. Try again in an hour.")
    asked = services.ask(
        kind, address=form.cleaned_data["email"], language=get_language() or "en", session=session, entry=entry
    )
    if asked == Asked.TOO_MANY:
        return _("It was sent %(count)s times already. More is not possible.") % {"count": services.MOST}
    return _("No e-mail can be sent from here.") if asked == Asked.NO_MAIL else ""
