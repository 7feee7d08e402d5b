"""Every address of the site."""

from __future__ import annotations

from allauth.account import views as account
from django.urls import include, path

from hygate import health

urlpatterns = [
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    path("account/login/", account.login, name="account_login"),
    path("account/logout/", account.logout, name="account_logout"),
    path("account/signup/", account.signup, name="account_signup"),
    path("account/reset/", account.password_reset, name="account_reset_password"),
    path("", include("sessions_app.urls")),
]
