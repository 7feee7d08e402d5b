"""Where an auth key may be sent."""

from __future__ import annotations

import pytest

from devices.shelly.server_url import check_server_url


@pytest.mark.parametrize(
    ("url", "plain"),
    [
        ("https://shelly-103-eu.shelly.cloud", "https://shelly-103-eu.shelly.cloud"),
        (" https://Shelly-13-EU.shelly.cloud/ ", "https://shelly-13-eu.shelly.cloud"),
        ("shelly-42-us.shelly.cloud", "https://shelly-42-us.shelly.cloud"),
        ("https://shelly-103-eu.shelly.cloud:443", "https://shelly-103-eu.shelly.cloud:443"),
        ("https://api.shelly.cloud", "https://api.shelly.cloud"),
        ("https://proxy.example.com", "https://proxy.example.com"),
        ("https://other.example.com:8443", "https://other.example.com:8443"),
    ],
)
def test_shelly_servers_and_named_hosts_are_taken_in_their_plain_form(url: str, plain: str) -> None:
    assert check_server_url(url, ["Proxy.example.com", "other.example.com:8443"], simulated=False) == plain


@pytest.mark.parametrize(
    "url",
    [
        "",
        "https://",
        "http://shelly-103-eu.shelly.cloud",
        "ftp://shelly-103-eu.shelly.cloud",
        "https://shelly.cloud.example.com",
        "https://evilshelly.cloud",
        "https://.shelly.cloud",
        "https://example.com",
        "https://other.example.com",
        "https://shelly-1-eu.shelly.cloud@example.com",
        "https://user:word@shelly-1-eu.shelly.cloud",
        "https://example.com\\.shelly.cloud",
        "https://example.com#.shelly.cloud",
        "https://example.com?.shelly.cloud",
        "https://shelly-1-eu.shelly.cloud/v2",
        "https://shelly-1-eu.shelly.cloud:port",
        "https://shelly-1-eu.shelly.cloud:99999",
        "https://shelly-1-eu.shelly.cloud\nHost: example.com",
        "http://127.0.0.1:8101",
        "http://localhost:8101",
        "https://10.0.0.5",
        "https://[::1",
    ],
)
def test_any_other_address_is_refused_with_a_sentence(url: str) -> None:
    with pytest.raises(ValueError, match=r"^[A-Z0-9a-z].*\.$"):
        check_server_url(url, ["other.example.com:8443"], simulated=False)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8101", "http://localhost:8101", "http://[::1]:8101"])
def test_simulator_on_this_machine_is_taken_only_where_hygate_is_simulated(url: str) -> None:
    assert check_server_url(url, [], simulated=True) == url
    with pytest.raises(ValueError, match="HYGATE_SIMULATED=1"):
        check_server_url(url, [], simulated=False)


def test_simulated_hygate_speaks_plain_http_to_no_other_machine() -> None:
    with pytest.raises(ValueError, match="https"):
        check_server_url("http://192.168.1.5:8101", ["192.168.1.5"], simulated=True)
