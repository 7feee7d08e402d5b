"""Changing a device: its columns, maintenance, unblocking, and its plans."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.db.models import Max
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.http import require_POST

from devices.commissioning import check_power_up
from devices.models import Device, UsagePlan
from devices.relays import blocking
from hygate import audit, clock
from hygate.roles import administrator_only, staff_only
from sessions_app.dashboard import frame, looks
from sessions_app.dashboard.forms import DeviceForm, MaintenanceForm, PlanForm, changed

HERE = "devices"


@staff_only
def edit(request: HttpRequest, pk: int) -> HttpResponse:
    """What energy decides by (phases, priority, pausing) is for administrators."""
    one = get_object_or_404(Device, pk=pk)
    back = reverse("dashboard:device", args=[pk])
    power = bool(getattr(request.user, "is_administrator", False))
    form = DeviceForm(request.POST or None, initial=DeviceForm.values_of(one), power=power)
    if form.is_valid():
        update(request, Device, one, form.columns(), kind="device_edited", device=one.pk)
        check_power_up([Device.objects.select_related("location").get(pk=pk)])
        return frame.done(request, back, f"{form.cleaned_data['name']} is saved.")
    return frame.dialog(request, form, title=f"Edit {one.name}", submit="Save", back=back, here=HERE)


@staff_only
def maintenance(request: HttpRequest, pk: int) -> HttpResponse:
    """Into maintenance, or its text and end anew: guests cannot pay, a running session goes on."""
    one = get_object_or_404(Device.objects.select_related("location"), pk=pk)
    back, zone = reverse("dashboard:device", args=[pk]), one.location.timezone
    until = one.maintenance_until.astimezone(looks.zone_of(one)).replace(tzinfo=None) if one.maintenance_until else None
    initial = {"text": one.maintenance_text, "until": until}
    form = MaintenanceForm(request.POST if request.method == "POST" else None, initial=initial, timezone=zone)
    if form.is_valid():
        data = form.cleaned_data
        columns = {"maintenance_since": one.maintenance_since or clock.now()}
        columns |= {"maintenance_text": data["text"], "maintenance_until": data["until"]}
        update(request, Device, one, columns, kind="maintenance_on", device=one.pk)
        return frame.done(request, back, f"{one.name} is in maintenance. Nobody can buy it.")
    text = "Guests cannot pay here until you end it. A running session goes on."
    return frame.dialog(
        request, form, title=f"Maintenance of {one.name}", submit="Save", back=back, here=HERE, text=text
    )


@require_POST
@staff_only
def maintenance_off(request: HttpRequest, pk: int) -> HttpResponse:
    one = get_object_or_404(Device, pk=pk)
    columns = {"maintenance_since": None, "maintenance_until": None, "maintenance_text": ""}
    update(request, Device, one, columns, kind="maintenance_off", device=one.pk)
    return frame.done(request, reverse("dashboard:device", args=[pk]), f"{one.name} is back on sale.")


@require_POST
@staff_only
def unblock(request: HttpRequest, pk: int) -> HttpResponse:
    """Somebody has put it right: Hygate sells it again as soon as it reads well."""
    one = get_object_or_404(Device, pk=pk)
    blocking.unblock(one, by=frame.who(request))
    return frame.done(request, reverse("dashboard:device", args=[pk]), f"{one.name} is unblocked.")


@administrator_only
def plan_add(request: HttpRequest, pk: int) -> HttpResponse:
    one = get_object_or_404(Device.objects.select_related("location"), pk=pk)
    back = reverse("dashboard:device", args=[pk])
    initial = {"seconds": 0, "grace_minutes": 0, "grace_seconds": 0, "vat": 0, "refund_unused": True, "active": True}
    form = PlanForm(request.POST or None, initial=initial, currency=one.location.currency)
    if form.is_valid():
        with transaction.atomic():
            last = one.plans.aggregate(last=Max("sort_order"))["last"]
            plan = one.plans.create(sort_order=0 if last is None else last + 1, **form.columns())
            audit.write("plan_added", actor=frame.who(request), device=pk, plan=plan.pk, **form.columns())
        return frame.done(request, back, f"{plan.name} can be bought now." if plan.active else f"{plan.name} is saved.")
    return frame.dialog(request, form, title=f"Add a plan to {one.name}", submit="Add plan", back=back, here=HERE)


@staff_only
def plan_edit(request: HttpRequest, pk: int) -> HttpResponse:
    plan = get_object_or_404(UsagePlan.objects.select_related("device__location"), pk=pk)
    back, currency = reverse("dashboard:device", args=[plan.device_id]), plan.device.location.currency
    form = PlanForm(request.POST or None, initial=PlanForm.values_of(plan, currency), currency=currency)
    if form.is_valid():
        columns = form.columns()
        if plan.extendable and columns["extendable"] and columns["duration_s"] == plan.duration_s:
            columns["max_total_s"] = plan.max_total_s
        update(request, UsagePlan, plan, columns, kind="plan_edited", device=plan.device_id, plan=plan.pk)
        return frame.done(
            request, back, f"{form.cleaned_data['name']} is saved. Sessions already bought keep their price."
        )
    return frame.dialog(request, form, title=f"Edit {plan.name}", submit="Save", back=back, here=HERE)


@administrator_only
def plan_delete(request: HttpRequest, pk: int) -> HttpResponse:
    plan = get_object_or_404(UsagePlan, pk=pk)
    back = reverse("dashboard:device", args=[plan.device_id])
    if request.method == "POST":
        with transaction.atomic():
            audit.write("plan_deleted", actor=frame.who(request), device=plan.device_id, plan=pk, name=plan.name)
            plan.delete()
        return frame.done(request, back, f"{plan.name} is deleted.")
    text = "Guests no longer see it. Sessions already bought keep what they paid for."
    title = f"Delete {plan.name}?"
    return frame.dialog(request, None, title=title, submit="Delete", back=back, here=HERE, text=text, danger=True)


@require_POST
@staff_only
def plan_move(request: HttpRequest, pk: int) -> HttpResponse:
    """Up or down by one: the whole list is numbered anew."""
    plan = get_object_or_404(UsagePlan, pk=pk)
    with transaction.atomic():
        order = list(UsagePlan.objects.filter(device=plan.device_id).values_list("pk", flat=True))
        place = order.index(pk)
        other = place - 1 if request.POST.get("to") == "up" else place + 1
        if 0 <= other < len(order):
            order[place], order[other] = order[other], order[place]
            for number, key in enumerate(order):
                UsagePlan.objects.filter(pk=key).exclude(sort_order=number).update(sort_order=number)
    return frame.done(request, reverse("dashboard:device", args=[plan.device_id]))


def update(request: HttpRequest, model: Any, row: Any, columns: dict[str, Any], *, kind: str, **about: Any) -> None:
    """Write the changed columns only, and say in the audit log which, from what to what."""
    news = changed(row, columns)
    if news:
        with transaction.atomic():
            model.objects.filter(pk=row.pk).update(**news)
            audit.write(kind, actor=frame.who(request), **audit.change(row, news), **about)
