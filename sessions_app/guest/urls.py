"""The guest's addresses. They are printed on labels and kept in pockets: they do not change."""

from __future__ import annotations

from django.urls import path, re_path

from sessions_app.guest import views

app_name = "guest"
urlpatterns = [
    path("brand.css", views.brand_css, name="brand"),
    re_path(r"^d/(?P<code>[^/]{1,40})/qr\.(?P<form>png|svg)$", views.qr_code, name="qr"),
    path("d/<str:code>/", views.device, name="device"),
    path("session/<str:token>/", views.session, name="session"),
    path("session/<str:token>/paid/", views.paid, name="paid"),
    path("session/<str:token>/back/", views.back, name="back"),
    path("session/<str:token>/pay/", views.pay, name="pay"),
    path("session/<str:token>/start/", views.start, name="start"),
    path("session/<str:token>/cancel/", views.cancel, name="cancel"),
    path("session/<str:token>/stop/", views.stop, name="stop"),
]
