"""What Stripe knows of currencies: which exist, how many decimals, the least that may be charged.

Minimums are by settlement currency (docs.stripe.com/currencies, "Minimum and maximum charge amounts"); the fake settles
in the currency of the charge. A known currency without a row here has the least possible minimum, 1.
"""

from __future__ import annotations


def _codes(text: str) -> frozenset[str]:
    return frozenset(text.split())


MINIMUM_CHARGE: dict[str, int] = {
    "aed": 200, "aud": 50, "bgn": 100, "brl": 50, "cad": 50, "chf": 50, "czk": 1500, "dkk": 250, "eur": 50, "gbp": 30,
    "hkd": 400, "huf": 17500, "inr": 50, "jpy": 50, "mxn": 1000, "myr": 200, "nok": 300, "nzd": 50, "pln": 200,
    "ron": 200, "sek": 300, "sgd": 50, "thb": 1000, "usd": 50,
}  # fmt: skip
MAXIMUM_CHARGE = 99_999_999
ZERO_DECIMAL = _codes("bif clp djf gnf jpy kmf krw mga pyg rwf ugx vnd vuv xaf xof xpf")
THREE_DECIMAL = _codes("bhd jod kwd omr tnd")
KNOWN = (
    frozenset(MINIMUM_CHARGE)
    | ZERO_DECIMAL
    | THREE_DECIMAL
    | _codes(
        "afn all amd ang aoa ars awg azn bam bbd bdt bmd bnd bob bsd bwp byn bzd cdf cny cop crc cve dop dzd egp etb"
        " fjd fkp gel gip gmd gtq gyd hnl htg idr ils isk jmd kes kgs khr kyd kzt lak lbp lkr lrd lsl mad mdl mkd mmk"
        " mnt mop mur mvr mwk mzn nad ngn nio npr pab pen pgk php pkr qar rsd rub sar sbd scr shp sle sos srd std szl"
        " tjs top try ttd twd tzs uah uyu uzs wst xcd yer zar zmw"
    )
)
SYMBOLS = {"eur": "€", "usd": "$", "gbp": "£", "jpy": "¥"}


def minimum_charge(currency: str) -> int:
    return MINIMUM_CHARGE.get(currency, 1)


def money(amount: int, currency: str) -> str:
    """``money(250, "eur")`` is "€2.50", ``money(1500, "czk")`` is "CZK 15.00"; integers throughout."""
    decimals = 0 if currency in ZERO_DECIMAL else 3 if currency in THREE_DECIMAL else 2
    whole, rest = divmod(amount, 10**decimals)
    figure = f"{whole:,}" if decimals == 0 else f"{whole:,}.{rest:0{decimals}d}"
    symbol = SYMBOLS.get(currency)
    return f"{symbol}{figure}" if symbol else f"{currency.upper()} {figure}"
