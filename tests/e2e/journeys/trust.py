"""What a page tells nobody, and what it does not let in."""

from __future__ import annotations

import re

from playwright.sync_api import Request

from tests.e2e.catalogue import CAPTURED, ran, retired
from tests.e2e.registry import journey
from tests.e2e.scene import Scene


@journey(
    "trust",
    "no strangers, no inline code, no referrer to others, nothing kept, nothing indexed; forms reach Stripe",
    lane="look",
)
def trust(scene: Scene) -> None:
    phone, asked = scene.phone(), list[Request]()
    phone.page.on("request", lambda one: asked.append(one))
    link = scene.site.staged("running", pay=CAPTURED, **ran(24))
    answer = phone.page.goto(scene.site.base_url + link)
    assert answer is not None
    headers = answer.all_headers()
    scene.expect(headers["cache-control"] == "no-store", "a session's page may be kept")
    scene.expect(headers["x-robots-tag"] == "noindex", "a session's page may be indexed")
    policy = headers["content-security-policy"]
    scene.expect("unsafe" not in policy and "default-src 'none'" in policy, f"the policy is lax: {policy}")
    scene.expect("frame-ancestors 'none'" in policy, "the page can be framed")
    strangers = [one.url for one in asked if not one.url.startswith(scene.site.base_url)]
    scene.expect(not strangers, f"the page asks strangers: {strangers}")
    phone.page.evaluate(
        "() => { const s = document.createElement('script'); s.textContent = 'window.bad = 1';"
        " document.body.append(s); }"
    )
    scene.expect(phone.page.evaluate("window.bad") is None, "an inline script ran")
    phone.complaints.clear()


@journey("referrer", "the payment page never learns the link; the form's redirect reaches it all the same")
def referrer(scene: Scene) -> None:
    thing, phone, asked = scene.site.thing(), scene.phone(), list[Request]()
    phone.page.on("request", lambda one: asked.append(one))
    scene.choose(phone, thing)
    told = [one.headers.get("referer", "") for one in asked if one.url.startswith(scene.site.stripe_server.url)]
    scene.expect(bool(told), "the payment page was never asked for")
    scene.expect(not any("/session/" in one or "/d/" in one for one in told), f"the payment page was told: {told}")
    phone.tap(re.compile("^Pay €"))
    phone.until("grace")
    phone.page.evaluate("location.href")
    cookies = {one["name"]: one for one in phone.context.cookies()}
    remembered = cookies["hygate_sessions"]
    scene.expect(bool(remembered["httpOnly"]) and remembered["sameSite"] == "Lax", "the cookie can be read by scripts")
    link = phone.page.url
    stranger = scene.phone()
    stranger.open(f"/d/{thing.code}/")
    scene.expect(stranger.page.url != link, "a stranger's phone was led to the session")
    stranger.open(link)
    stranger.until("grace")
    phone.context.clear_cookies()
    phone.open(link)
    phone.until("grace")


@journey("old-label", "a label that was replaced names nothing and sells nothing", lane="look")
def old_label(scene: Scene) -> None:
    phone = scene.phone()
    phone.open(retired(scene.site))
    phone.reads("This label was replaced")
    scene.expect("Washer 1" not in phone.page.content(), "a retired label says what it hung on")
    phone.look("a retired label")
