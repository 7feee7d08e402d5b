"""What a person must do about money, as alerts with one key each."""

from __future__ import annotations

from hygate.alerts import close_alert, raise_alert
from hygate.models import Severity
from sessions_app.models import Payment, Refund


def refund_failed(refund: Refund) -> None:
    raise_alert(
        f"refund:{refund.pk}",
        kind="refund_failed",
        title=f"A refund of {refund.payment.session.reference} did not go through",
        advice="Open the session and press Refund; if Stripe refuses again, top up the Stripe balance or pay by hand.",
        severity=Severity.ERROR,
        help_anchor="refund-failed",
        session=refund.payment.session_id,
        payment=refund.payment_id,
    )


def refund_made_good(refund: Refund) -> None:
    close_alert(f"refund:{refund.pk}")


def capture_lost(payment: Payment) -> None:
    raise_alert(
        f"capture:{payment.pk}",
        kind="capture_failed",
        title=f"The card of {payment.session.reference} could not be charged",
        advice="The hold was gone. The session was ended and nothing is charged again; note the loss and close this.",
        severity=Severity.ERROR,
        help_anchor="capture-failed",
        session=payment.session_id,
        payment=payment.pk,
    )


def mismatch(payment: Payment) -> None:
    raise_alert(
        f"mismatch:{payment.pk}",
        kind="payment_mismatch",
        title=f"The payment of {payment.session.reference} is not what was sold",
        advice="Amount, currency or order differ at Stripe. It was not started and goes back; look for tampering.",
        severity=Severity.ERROR,
        help_anchor="payment-mismatch",
        session=payment.session_id,
        payment=payment.pk,
    )


def disputed(payment: Payment) -> None:
    raise_alert(
        f"dispute:{payment.pk}",
        kind="dispute",
        title=f"The payment of {payment.session.reference} is disputed",
        advice="Answer it in Stripe's dashboard with the session's timeline. Hygate refunds nothing by itself.",
        severity=Severity.ERROR,
        help_anchor="dispute",
        session=payment.session_id,
        payment=payment.pk,
    )


def money_differs(payment: Payment, what: str) -> None:
    raise_alert(
        f"differs:{payment.pk}",
        kind="money_differs",
        title=f"Stripe and Hygate disagree about {payment.session.reference}",
        advice=f"{what} Compare the payment with Stripe's dashboard.",
        severity=Severity.ERROR,
        help_anchor="money-differs",
        session=payment.session_id,
        payment=payment.pk,
    )


def money_agrees(payment: Payment) -> None:
    close_alert(f"differs:{payment.pk}")


def unknown_order_returned() -> None:
    raise_alert(
        "stripe:unknown:returned",
        kind="unknown_order",
        title="Orders were paid that this database does not know; their money goes back",
        advice="A backup was restored: what guests bought since it was made is gone from here. Their holds are released"
        " and payments refunded. Look at the devices, then close this.",
        severity=Severity.ERROR,
        help_anchor="unknown-order",
    )


def unknown_order_kept() -> None:
    raise_alert(
        "stripe:unknown:kept",
        kind="unknown_order_kept",
        title="Stripe holds money for orders that this database does not know",
        advice="They are too old, or Stripe refused, so nothing was given back. Find unknown_order in the audit log,"
        " and decide in Stripe's dashboard.",
        severity=Severity.ERROR,
        help_anchor="unknown-order",
    )


def stripe_key_refused(*, right_missing: bool) -> None:
    todo = "Make a new restricted key in Stripe and save it under Settings, Stripe."
    if right_missing:
        todo = "Add the missing right to the restricted key in Stripe; Settings → Stripe names what can be tested."
    raise_alert(
        "stripe:key",
        kind="stripe_key",
        title="The Stripe key lacks a right" if right_missing else "Stripe refuses the key",
        advice=f"Nothing can be sold and refunds wait. {todo}",
        severity=Severity.ERROR,
        help_anchor="right-missing" if right_missing else "key-refused",
    )


def stripe_answers() -> None:
    close_alert("stripe:key")
