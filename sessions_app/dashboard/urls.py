"""The dashboard's addresses. Who may open which stands on the view (``perm``)."""

from __future__ import annotations

from django.urls import path

from sessions_app.dashboard import accounts, devices, overview, sessions

app_name = "dashboard"
urlpatterns = [
    path("", overview.overview, name="overview"),
    path("live/", overview.live, name="overview_live"),
    path("devices/", devices.devices, name="devices"),
    path("devices/live/", devices.devices_live, name="devices_live"),
    path("devices/<int:pk>/", devices.device, name="device"),
    path("devices/<int:pk>/edit/", devices.edit, name="device_edit"),
    path("devices/<int:pk>/maintenance/", devices.maintenance, name="maintenance"),
    path("devices/<int:pk>/maintenance/end/", devices.maintenance_off, name="maintenance_off"),
    path("devices/<int:pk>/plans/add/", devices.plan_add, name="plan_add"),
    path("plans/<int:pk>/edit/", devices.plan_edit, name="plan_edit"),
    path("plans/<int:pk>/delete/", devices.plan_delete, name="plan_delete"),
    path("plans/<int:pk>/move/", devices.plan_move, name="plan_move"),
    path("sessions/", sessions.sessions, name="sessions"),
    path("sessions/<int:pk>/", sessions.session, name="session"),
    path("sessions/<int:pk>/live/", sessions.session_live, name="session_live"),
    *(path(f"sessions/<int:pk>/{one.key}/", sessions.act(one), name=f"session_{one.key}") for one in sessions.ACTIONS),
    path("payments/", sessions.payments, name="payments"),
    path("locations/", accounts.locations, name="locations"),
    path("locations/add/", accounts.location_add, name="location_add"),
    path("locations/<int:pk>/edit/", accounts.location_edit, name="location_edit"),
    path("accounts/", accounts.accounts, name="accounts"),
    path("accounts/add/", accounts.add, name="account_add"),
    path("accounts/<int:pk>/", accounts.account, name="account"),
    path("accounts/<int:pk>/edit/", accounts.edit, name="account_edit"),
    path("accounts/<int:pk>/sync/", accounts.sync, name="account_sync"),
    path("accounts/<int:pk>/channels/", accounts.add_channels, name="account_channels"),
]
