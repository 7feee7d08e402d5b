"""The page a guest sees in place of Stripe's: what is bought, for how much, and the ways to go on.

No scripts: each way is a form, so that a browser, a test and ``make smoke`` use it alike.
"""

from __future__ import annotations

from html import escape

from hygate.simulators.stripe.books import Json
from hygate.simulators.stripe.checkout import offers_pay_later
from hygate.simulators.stripe.currencies import money

STYLE = """
:root{color-scheme:light dark;--page:#f5f6f8;--card:#fff;--ink:#1a1f36;--soft:#5b637a;--line:#dfe3ea;--go:#0b62d6;--no:#b3261e}
@media(prefers-color-scheme:dark){:root{--page:#12151c;--card:#1c212c;--ink:#eef1f6;--soft:#a3adbf;--line:#343c4c;--go:#2f7ff0;--no:#ff8a80}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:16px/1.5 system-ui,sans-serif;min-height:100vh}
.test{margin:0;background:#ffd54f;color:#3a2c00;text-align:center;font-weight:600;padding:.5rem 1rem}
main{max-width:26rem;margin:0 auto;padding:2rem 1rem}
.card{background:var(--card);border:1px solid var(--line);border-radius:14px;padding:1.5rem}
h1{font-size:1rem;font-weight:500;color:var(--soft);margin:0}
.amount{font-size:2.25rem;font-weight:700;margin:.25rem 0 1rem}
ul{list-style:none;margin:0 0 1.25rem;padding:1rem 0 0;border-top:1px solid var(--line)}
li{display:flex;justify-content:space-between;gap:1rem}
li span:first-child{min-width:0;overflow-wrap:anywhere}
small,.note{color:var(--soft)}
form{margin:0 0 .6rem}
button{width:100%;min-height:48px;font:inherit;font-weight:600;border-radius:9px;border:1px solid var(--line);background:transparent;color:var(--ink);cursor:pointer}
button.go{background:var(--go);border-color:var(--go);color:#fff}
button:focus-visible{outline:3px solid var(--go);outline-offset:2px}
.error{color:var(--no);border:1px solid currentColor;border-radius:9px;padding:.6rem .8rem}
"""
ENDED = {
    "complete": ("You're all done here", "This payment page was completed. You can close it."),
    "expired": ("This page has expired", "The time to pay is over and nothing was charged. Go back and start again."),
}


def pay_page(session: Json, *, error: str = "") -> str:
    lines = "".join(_line(line, session["currency"]) for line in session["_line_items"]["data"])
    notice = f'<p class="error" role="alert">{escape(error)}</p>' if error else ""
    ways = [
        ("pay", "Pay " + money(session["amount_total"], session["currency"]), "go"),
        ("verify", "Pay, the bank asks first", ""),
        ("decline", "Decline card", ""),
    ]
    if offers_pay_later(session):
        ways.append(("pay_later", "Pay later", ""))
    if session["cancel_url"]:
        ways.append(("abandon", "Abandon", ""))
    forms = "".join(_form(session["id"], *way) for way in ways)
    amount = escape(money(session["amount_total"], session["currency"]))
    return _page(
        "Pay",
        f'<h1>Pay</h1><p class="amount">{amount}</p>{notice}<ul>{lines}</ul>{forms}'
        '<p class="note"><small>The simulated card is 4242 4242 4242 4242.</small></p>',
    )


def bank_page(session: Json) -> str:
    """3-D Secure: the bank's own question between the card and the payment."""
    ways = [("pay", "It is me, pay", "go"), ("decline", "It is not me", "")]
    forms = "".join(_form(session["id"], *way) for way in ways)
    amount = escape(money(session["amount_total"], session["currency"]))
    return _page("Your bank", f'<h1>Your bank asks: is it you?</h1><p class="amount">{amount}</p>{forms}')


def ended_page(session: Json) -> str:
    title, text = ENDED[session["status"]]
    return _page(title, f"<h1>{escape(title)}</h1><p>{escape(text)}</p>")


def unknown_page() -> str:
    return _page("Not found", "<h1>Not found</h1><p>There is no such payment page.</p>")


def _line(line: Json, currency: str) -> str:
    count = f"{line['quantity']} × " if line["quantity"] > 1 else ""
    detail = f"<br><small>{escape(line['_detail'])}</small>" if line["_detail"] else ""
    amount = escape(money(line["amount_total"], currency))
    return f"<li><span>{count}{escape(line['description'])}{detail}</span><span>{amount}</span></li>"


def _form(session_id: str, way: str, label: str, look: str) -> str:
    action = f"/c/pay/{escape(session_id)}/{way}"
    return f'<form method="post" action="{action}"><button class="{look}" name="way" value="{way}">{escape(label)}</button></form>'


def _page(title: str, body: str) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="robots" content="noindex">'
        f"<title>{escape(title)} · simulated Stripe</title><style>{STYLE}</style></head><body>"
        '<p class="test">Test mode: no real money</p>'
        f'<main><div class="card">{body}</div></main></body></html>'
    )
