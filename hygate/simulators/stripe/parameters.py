"""Stripe's form encoding, and a check of parameters against the TypedDicts that the SDK itself ships.

The SDK's ``…Params`` classes are generated from Stripe's OpenAPI document: a parameter that is not in them does not
exist at Stripe, so the fake refuses it as Stripe does.
"""

from __future__ import annotations

import re
from functools import cache
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints
from urllib.parse import parse_qsl

from stripe import RequestOptions
from typing_extensions import is_typeddict

from hygate.simulators.stripe.errors import StripeRefusal, invalid_parameter

METADATA_KEYS, METADATA_KEY_LENGTH, METADATA_VALUE_LENGTH = 50, 40, 500
INTEGER = re.compile(r"-?\d+")
OPTIONS = frozenset(RequestOptions.__annotations__)
UNIONS = (Union, UnionType)


def parse_form(text: str) -> dict[str, Any]:
    """``a[b][0][c]=1`` becomes ``{"a": {"b": [{"c": "1"}]}}``; ``a[]=1&a[]=2`` becomes ``{"a": ["1", "2"]}``."""
    tree: dict[str, Any] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        _put(tree, _steps(name), value)
    return {name: _lists(value) for name, value in tree.items()}


def _steps(name: str) -> list[str]:
    head, bracket, rest = name.partition("[")
    return [head, *rest.removesuffix("]").split("][")] if bracket else [head]


def _put(tree: dict[str, Any], steps: list[str], value: str) -> None:
    for step in steps[:-1]:
        branch = tree.setdefault(step, {})
        if not isinstance(branch, dict):
            raise invalid_parameter("Invalid request: a parameter is both a value and a hash", steps[0])
        tree = branch
    last = steps[-1] or str(len(tree))
    tree[last] = value


def _lists(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if value and all(key.isdigit() for key in value):
        return [_lists(value[key]) for key in sorted(value, key=int)]
    return {key: _lists(inner) for key, inner in value.items()}


@cache
def _fields(shape: Any) -> dict[str, Any]:
    # The inherited request options name types of another module, so they are left out before names are looked up.
    own = {name: hint for name, hint in shape.__annotations__.items() if name not in OPTIONS}
    return get_type_hints(type("Own", (), {"__annotations__": own, "__module__": shape.__module__}))


def checked(parameters: dict[str, Any], shape: Any) -> dict[str, Any]:
    """The parameters with integers and booleans as such, or Stripe's refusal of the first wrong one."""
    return _check_hash(parameters, shape, "")


def _inside(path: str, name: str) -> str:
    return f"{path}[{name}]" if path else name


def _check_hash(value: dict[str, Any], shape: Any, path: str) -> dict[str, Any]:
    fields = _fields(shape)
    for name in value:
        if name not in fields:
            where = _inside(path, name)
            raise invalid_parameter(f"Received unknown parameter: {where}", where, "parameter_unknown")
    for name in sorted(shape.__required_keys__ - OPTIONS):
        if name not in value:
            where = _inside(path, name)
            raise invalid_parameter(f"Missing required param: {where}.", where, "parameter_missing")
    return {name: _check(inner, fields[name], _inside(path, name)) for name, inner in value.items()}


def _check(value: Any, hint: Any, path: str) -> Any:
    choices = list(get_args(hint)) if get_origin(hint) in UNIONS else [hint]
    literals = [text for choice in choices if get_origin(choice) is Literal for text in get_args(choice)]
    others = [choice for choice in choices if get_origin(choice) is not Literal]
    if isinstance(value, str):
        return _check_text(value, literals, others, path)
    if isinstance(value, list):
        return _check_list(value, others, path)
    return _check_mapping(value, others, path)


def _check_text(value: str, literals: list[str], others: list[Any], path: str) -> Any:
    if value in literals:
        return value
    if [text for text in literals if text] and all(choice is str for choice in others):
        raise invalid_parameter(f"Invalid {path}: must be one of {', '.join(text for text in literals if text)}", path)
    if int in others:
        return _integer(value, path)
    if bool in others:
        return _boolean(value, path)
    if value == "":
        raise invalid_parameter(f"You passed an empty string for '{path}'.", path, "parameter_invalid_empty")
    if not any(_takes_text(choice) for choice in others):
        raise invalid_parameter(f"Invalid {_noun(others)}: {value[:40]}", path)
    return value


def _takes_text(choice: Any) -> bool:
    return not is_typeddict(choice) and get_origin(choice) not in (list, dict)


def _noun(choices: list[Any]) -> str:
    return "array" if any(get_origin(choice) is list for choice in choices) else "object"


def _integer(value: str, path: str) -> int:
    if not INTEGER.fullmatch(value):
        raise invalid_parameter(f"Invalid integer: {value[:40]}", path, "parameter_invalid_integer")
    return int(value)


def _boolean(value: str, path: str) -> bool:
    if value not in ("true", "false"):
        raise invalid_parameter(f"Invalid boolean: {value[:40]}", path)
    return value == "true"


def _check_list(value: list[Any], others: list[Any], path: str) -> list[Any]:
    for choice in others:
        if get_origin(choice) is list:
            inner = get_args(choice)[0]
            return [_check(item, inner, f"{path}[{index}]") for index, item in enumerate(value)]
    raise invalid_parameter(f"Invalid value for {path}: an array was not expected", path)


def _check_mapping(value: dict[str, Any], others: list[Any], path: str) -> dict[str, Any]:
    for choice in others:
        if is_typeddict(choice):
            return _check_hash(value, choice, path)
        if get_origin(choice) is dict:
            return _check_metadata(value, path)
    raise invalid_parameter(f"Invalid {'string' if str in others else 'value'}: {path} is a hash", path)


def _check_metadata(value: dict[str, Any], path: str) -> dict[str, Any]:
    if len(value) > METADATA_KEYS:
        raise invalid_parameter(f"You can have at most {METADATA_KEYS} keys in metadata", path)
    for name, text in value.items():
        if len(name) > METADATA_KEY_LENGTH or not isinstance(text, str) or len(text) > METADATA_VALUE_LENGTH:
            raise _metadata_too_long(_inside(path, name))
    return value


def _metadata_too_long(where: str) -> StripeRefusal:
    limits = f"keys up to {METADATA_KEY_LENGTH} characters and string values up to {METADATA_VALUE_LENGTH}"
    return invalid_parameter(f"Invalid metadata {where}: Metadata takes {limits}", where)
