"""The sales room's addresses: guest pages, the operator's dashboard, Stripe's webhook."""

from __future__ import annotations

from django.urls import include, path

from sessions_app.payments import webhook

urlpatterns = [
    path("api/stripe/webhook", webhook.stripe_webhook, name="stripe_webhook"),
    path("dashboard/", include("sessions_app.dashboard.urls")),
    path("", include("sessions_app.guest.urls")),
]
