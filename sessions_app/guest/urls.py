"""The guest's addresses. They are printed on labels and kept in pockets: they do not change."""

from __future__ import annotations

from django.urls import path, re_path

from sessions_app.guest import extend, language, line_views, mine, views
from sessions_app.mail import views as mail
from sessions_app.problems import views as problems
from sessions_app.receipts import views as receipts

app_name = "guest"
urlpatterns = [
    re_path(r"^brand-(?P<color>[0-9a-f]{6})\.css$", views.brand_css, name="brand"),
    re_path(r"^logo-(?P<name>[0-9a-f]{12})\.webp$", views.logo, name="logo"),
    path("language/", language.choose, name="language"),
    re_path(r"^d/(?P<code>[^/]{1,40})/qr\.(?P<form>png|svg)$", views.qr_code, name="qr"),
    path("mine/", mine.mine, name="mine"),
    path("d/<str:code>/", views.device, name="device"),
    path("d/<str:code>/line/", line_views.join, name="join"),
    path("line/<str:token>/", line_views.place, name="line"),
    path("line/<str:token>/choose/", line_views.choose, name="line_choose"),
    path("line/<str:token>/longer/", line_views.longer, name="line_longer"),
    path("line/<str:token>/leave/", line_views.leave, name="line_leave"),
    path("line/<str:token>/tell/", mail.tell_turn, name="line_tell"),
    path("session/<str:token>/", views.session, name="session"),
    path("session/<str:token>/paid/", views.paid, name="paid"),
    path("session/<str:token>/back/", views.back, name="back"),
    path("session/<str:token>/pay/", views.pay, name="pay"),
    path("session/<str:token>/start/", views.start, name="start"),
    path("session/<str:token>/cancel/", views.cancel, name="cancel"),
    path("session/<str:token>/stop/", views.stop, name="stop"),
    path("session/<str:token>/extend/", extend.extend, name="extend"),
    path("session/<str:token>/extend/cancel/", extend.drop, name="extend_cancel"),
    path("session/<str:token>/done.ics", views.done_ics, name="done_ics"),
    path("session/<str:token>/tell/", mail.tell, name="tell"),
    path("session/<str:token>/receipt/", receipts.receipt, name="receipt"),
    path("session/<str:token>/receipt.pdf", receipts.as_pdf, name="receipt_pdf"),
    path("session/<str:token>/receipt/mail/", receipts.by_mail, name="receipt_mail"),
    path("session/<str:token>/report/", problems.report, name="report"),
    path("session/<str:token>/report/<str:reference>/", problems.sent, name="report_sent"),
    path("d/<str:code>/report/", problems.label, name="label_report"),
]
