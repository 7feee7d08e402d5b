"""Every address of the site."""

from __future__ import annotations

from allauth.account import views as account
from allauth.mfa.base import views as second_factor
from allauth.mfa.recovery_codes import views as recovery
from allauth.mfa.totp import views as totp
from django.urls import include, path

from devices.energy import live
from hygate import health, invitations
from hygate.logins import slowed

handler403, handler404, handler500 = "hygate.mishaps.forbidden", "hygate.mishaps.not_found", "hygate.mishaps.failed"
urlpatterns = [
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("api/v1/energy/<int:location>/live", live.live, name="energy_live"),
    path("account/login/", slowed(account.login), name="account_login"),
    path("account/login/code/", slowed(second_factor.authenticate, code=True), name="mfa_authenticate"),
    path("account/logout/", account.logout, name="account_logout"),
    path("account/again/", slowed(account.reauthenticate), name="account_reauthenticate"),
    path("account/again/code/", slowed(second_factor.reauthenticate, code=True), name="mfa_reauthenticate"),
    path("account/password/", slowed(account.password_change), name="account_change_password"),
    path("account/invitation/<uidb64>/<token>/", invitations.accept, name="invitation"),
    path("account/security/", second_factor.index, name="mfa_index"),
    path("account/security/app/", slowed(totp.activate_totp), name="mfa_activate_totp"),
    path("account/security/app/remove/", totp.deactivate_totp, name="mfa_deactivate_totp"),
    path("account/security/codes/", recovery.view_recovery_codes, name="mfa_view_recovery_codes"),
    path("account/security/codes/new/", recovery.generate_recovery_codes, name="mfa_generate_recovery_codes"),
    path("", include("sessions_app.urls")),
]
