"""Stripe's calls to us: verify, put into the inbox, answer 200."""

from __future__ import annotations

import structlog
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from sessions_app.payments import inbox
from sessions_app.payments.stripe_gateway import ForgedWebhook, verify_webhook

log = structlog.get_logger(__name__)
MOST_BODY = 512 * 1024


@csrf_exempt
@require_POST
def stripe_webhook(request: HttpRequest) -> HttpResponse:
    """400 for a forged call; 200 only after its row has been committed."""
    if len(request.body) > MOST_BODY:
        return HttpResponse("too large", status=413)
    try:
        event = verify_webhook(request.body, request.headers.get("Stripe-Signature", ""))
    except ForgedWebhook as error:
        log.warning("webhook.forged", why=str(error))
        return HttpResponse("signature", status=400)
    inbox.receive(event)
    return HttpResponse("ok")
