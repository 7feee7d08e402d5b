from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.db.backends.signals import connection_created
from django.db.models.signals import post_migrate


class HygateConfig(AppConfig):
    name = "hygate"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from allauth.account.signals import password_changed, user_logged_in
        from allauth.mfa import signals as second_factor

        from hygate import accounts, checks, clock_watch

        checks.register()
        connection_created.connect(clock_watch.on_connection, dispatch_uid="clock")
        mail_alerts()
        post_migrate.connect(make_cache_table, sender=self)
        user_logged_in.connect(accounts.on_login)
        password_changed.connect(accounts.on_own_password)
        for kind in ("authenticator_added", "authenticator_removed", "authenticator_reset"):
            receiver = accounts.on_second_factor(kind.replace("authenticator", "second_factor"))
            getattr(second_factor, kind).connect(receiver, weak=False)


def mail_alerts() -> None:
    """An alert is a due row: its mail is. One that cannot be mailed is tried on and on, and never an alert itself."""
    from django.conf import settings

    from hygate import alert_mail
    from hygate.due import Queue, register
    from hygate.models import Alert

    register(
        Alert,
        alert_mail.advance,
        queue=Queue.MONEY,
        lease_s=lambda: max(alert_mail.LEASE_S, settings.NUMBERS.lease_other_s),
        chunk=1,
        never_quarantine=lambda _alert: True,
    )


def make_cache_table(using: str = "default", **_: Any) -> None:
    """The cache is a table of our database: whoever migrates has it, and nobody runs ``createcachetable``."""
    from django.core.management import call_command

    call_command("createcachetable", database=using, verbosity=0)
