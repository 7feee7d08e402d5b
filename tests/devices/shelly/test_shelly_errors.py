"""The names of what goes wrong: the body speaks first, and an error says whether the relay may have moved."""

from __future__ import annotations

import pytest

from devices.shelly import errors
from devices.shelly.errors import ShellyError, named, named_code


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("DEVICE_UNSUPPORTED_COMMAND", "wrong_profile"),
        ("BAD_REQUEST", "bad_request"),
        ("DEVICE_NOT_FOUND", "device_not_found"),
        ("UNEXPECTED_SUBSERVICE_ERROR", "cloud_down"),
        ("DEVICE_FAILED_COMMAND", "command_failed"),
        ("DEVICE_OFFLINE", "device_offline"),
        ("SOMETHING_NEW", "command_failed"),
    ],
)
def test_codes_of_failed_commands_have_names(code: str, name: str) -> None:
    assert named_code(code).name == name


@pytest.mark.parametrize(
    ("status", "body", "name", "acted"),
    [
        (401, "", "unclear_refusal", "no"),
        (401, "<html>", "unclear_refusal", "no"),
        (401, '{"isok":false,"errors":[]}', "unclear_refusal", "no"),
        (401, '{"isok":false,"errors":["Unauthorized"]}', "unclear_refusal", "no"),
        (403, "<html>blocked</html>", "unclear_refusal", "no"),
        (429, "", "rate_limited", "no"),
        (404, "404 page not found", "no_such_route", "no"),
        (302, "", "bad_answer", "unknown"),
        (204, "", "bad_answer", "unknown"),
        (500, '{"error":"UNEXPECTED_SUBSERVICE_ERROR"}', "cloud_down", "unknown"),
        (502, "<html>Bad gateway</html>", "cloud_down", "unknown"),
        (503, '{"isok":false,"errors":{"max_req":"Request limit reached!"}}', "rate_limited", "no"),
        (400, '{"error":"DEVICE_FAILED_COMMAND"}', "command_failed", "unknown"),
        (400, '{"error":"DEVICE_OFFLINE"}', "device_offline", "no"),
    ],
)
def test_body_speaks_first_and_the_status_only_when_it_is_silent(status: int, body: str, name: str, acted: str) -> None:
    error = named(status, body)
    assert error is not None
    assert (error.name, error.acted) == (name, acted)


def test_an_unclear_refusal_may_be_tried_again_and_a_bad_key_may_not() -> None:
    assert errors.UnclearRefusal.retryable
    assert not errors.BadKey.retryable


def test_every_error_has_a_name_of_its_own_and_a_sentence() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ShellyError)]
    kinds.remove(ShellyError)
    assert len({kind.name for kind in kinds}) == len(kinds) == 20
    assert all(kind.says.endswith(".") for kind in kinds)
