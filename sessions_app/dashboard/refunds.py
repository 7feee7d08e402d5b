"""The refund button: how much and why, within what this person may give back."""

from __future__ import annotations

from typing import Any, cast

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse

from hygate.models import User
from hygate.roles import staff_only
from sessions_app import money
from sessions_app.dashboard import frame
from sessions_app.dashboard.forms import ReasonForm
from sessions_app.dashboard.spelling import amount
from sessions_app.models import Payment
from sessions_app.payments import giving_back

WHATS = {"all": "All of it", "unused": "The minutes that were not delivered"}


class RefundForm(ReasonForm):
    """``seen`` is what was promised when the form was opened: it is good for one refund.

    ``most`` is what this person may give back, ``whole`` what is left of the payment, ``unused`` the part of it that
    bought undelivered minutes; all in minor units.
    """

    what = forms.ChoiceField(label="Pay back", required=False)
    amount = forms.DecimalField(min_value=0, max_digits=9, required=False)
    seen = forms.IntegerField(widget=forms.HiddenInput)
    field_order = ("what", "amount", "reason", "seen")
    pairs = (("what", "amount"),)

    def __init__(self, *args: Any, currency: str, most: int, whole: int, unused: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.currency, self.most = currency, most
        self.sums = {name: sum for name, sum in (("all", whole), ("unused", unused)) if 0 < sum <= most}
        offered = [(name, f"{WHATS[name]}: {amount(sum, currency)}") for name, sum in self.sums.items()]
        self.fields["what"].choices = [*offered, ("amount", "Another amount")]  # type: ignore[attr-defined]
        self.digits = 0 if currency.lower() in money.ZERO_DECIMAL else 2
        self.fields["amount"].label = f"Amount, {currency.upper()}"
        self.fields["amount"].help_text = f"Only for another amount. At most {amount(most, currency)}."

    def clean_amount(self) -> int:
        """In minor units. A choice that names its amount, and another amount beside it: neither counts."""
        what, typed = self.cleaned_data.get("what") or "amount", self.cleaned_data["amount"]
        if what in self.sums:
            if typed is not None and typed.scaleb(self.digits) != self.sums[what]:
                raise forms.ValidationError("Choose “Another amount” for this, or leave it empty.")
            return self.sums[what]
        if typed is None:
            raise forms.ValidationError("How much goes back?")
        minor = typed.scaleb(self.digits)
        if minor != minor.to_integral_value():
            raise forms.ValidationError(f"{self.currency.upper()} has {self.digits or 'no'} decimal places.")
        if not 1 <= minor <= self.most:
            raise forms.ValidationError(f"Between {amount(1, self.currency)} and {amount(self.most, self.currency)}.")
        return int(minor)


@staff_only
def refund(request: HttpRequest, pk: int) -> HttpResponse:
    payment = get_object_or_404(Payment.objects.select_related("session__device"), pk=pk)
    user = cast(User, request.user)
    back = reverse("dashboard:session", args=[payment.session_id])
    most = giving_back.limit_for(payment, user)
    if not giving_back.most_refundable(payment):
        return frame.refused(request, back, "Nothing is left to pay back; nothing was done.")
    if not most:
        return frame.refused(request, back, "What operators may refund is used up here. Ask an administrator.")
    form = RefundForm(
        request.POST or None,
        initial={"seen": payment.refund_promised_minor},
        currency=payment.currency,
        most=most,
        whole=giving_back.most_refundable(payment),
        unused=giving_back.unused_minor(payment),
    )
    if form.is_valid():
        return _refund(request, payment, form, user, back)
    return frame.dialog(
        request,
        form,
        title=f"Refund: {payment.session.device}",
        submit="Refund",
        back=back,
        here="payments",
        text=_text(payment, user),
        danger=True,
    )


def _refund(request: HttpRequest, payment: Payment, form: RefundForm, user: User, back: str) -> HttpResponse:
    try:
        made = giving_back.refund(
            payment=payment,
            amount_minor=form.cleaned_data["amount"],
            user=user,
            reason=form.cleaned_data["reason"],
            seen_promised_minor=form.cleaned_data["seen"],
        )
    except giving_back.CannotRefund as refusal:
        return frame.refused(request, back, str(refusal))
    said = amount(made.amount_minor, payment.currency)
    return frame.done(request, back, f"{said} go back. Hygate asks Stripe until it has happened.")


def _text(payment: Payment, user: User) -> str:
    text = f"{amount(payment.captured_minor, payment.currency)} were taken."
    if payment.refund_promised_minor:
        text += f" {amount(payment.refund_promised_minor, payment.currency)} of it go back already."
    return text if user.is_administrator else f"{text} Above the operators' limit, an administrator does it."
