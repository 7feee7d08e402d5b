"""allauth's forms for staff, in the words of the other pages: a label over each field, and none inside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from allauth.account import forms
from django.conf import settings


class Plainly:
    """A mix-in for allauth's forms; ``said`` are the labels of the fields that have other words than allauth's."""

    said: ClassVar[Mapping[str, str]]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, field in self.fields.items():  # type: ignore[attr-defined]
            field.label = self.said.get(name, field.label)
            field.widget.attrs.pop("placeholder", None)


class LoginForm(Plainly, forms.LoginForm):  # type: ignore[misc]
    said: ClassVar[Mapping[str, str]] = {
        "login": "E-mail address",
        "remember": f"Stay logged in on this device for {settings.SESSION_COOKIE_AGE // 86400} days",
    }


class ChangePasswordForm(Plainly, forms.ChangePasswordForm):  # type: ignore[misc]
    said: ClassVar[Mapping[str, str]] = {
        "oldpassword": "Current password",
        "password1": "New password",
        "password2": "The new password again",
    }
