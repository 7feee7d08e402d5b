"""From registers to fields: pure, strict, and silent about nothing.

A number that cannot be true is rejected, never clamped: its field is absent, and ``Decoded.malformed`` names it. The
plant's own words for 'nothing' (0xFFFFFFFF and the like) make the field absent without a complaint.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from devices.energy.reading import Field, Fields, Measured
from devices.energy.sources.sigenergy_modbus.registers import BOUNDS, GRID_FIELDS, Block, Kind, Means, Register
from devices.energy.sources.source import Malformed

LOST_METERS_MASK = 0b111


@dataclass(frozen=True)
class Decoded:
    """The fields of one answer, and what in it makes no sense."""

    fields: Fields
    malformed: tuple[Malformed, ...] = ()


def words_of(payload: bytes) -> tuple[int, ...]:
    """Registers from the bytes of an answer, two each, high byte first; raises ``Malformed`` for half a register."""
    if len(payload) % 2:
        raise Malformed(f"An answer of {len(payload)} bytes holds half a register.")
    return tuple(int.from_bytes(payload[at : at + 2], "big") for at in range(0, len(payload), 2))


def number(words: Sequence[int], kind: Kind) -> int:
    """The number that ``words`` make, high word first, two's complement where ``kind`` is signed."""
    if len(words) != kind.words or not all(0 <= word <= 0xFFFF for word in words):
        raise Malformed(f"{list(words)} is no {kind}.")
    raw = unsigned(words)
    bits = 16 * len(words)
    return raw - (1 << bits) if kind in (Kind.S16, Kind.S32) and raw >> (bits - 1) else raw


def unsigned(words: Sequence[int]) -> int:
    raw = 0
    for word in words:
        raw = raw << 16 | word
    return raw


def decode(block: Block, words: Sequence[int], at: datetime) -> Decoded:
    """The fields of one block, measured ``at``; raises ``Malformed`` when the answer has another length.

    Without a grid sensor the plant's grid powers mean nothing: they are left out.
    """
    if len(words) != block.count:
        raise Malformed(f"{block.count} registers were asked from {block.address}, {len(words)} came.")
    fields: dict[Field, Measured] = {}
    malformed: list[Malformed] = []
    for register in block.registers:
        part = words[register.address - block.address : register.end - block.address]
        try:
            value = _value(register, part)
        except Malformed as wrong:
            malformed.append(wrong)
            continue
        if value is not None:
            fields[register.field] = Measured(value, at)
    return Decoded(_without_sensor(fields), tuple(malformed))


def _value(register: Register, words: Sequence[int]) -> int | float | None:
    if unsigned(words) in register.absent:
        return None
    raw = number(words, register.kind)
    lowest, highest = BOUNDS[register.means]
    if not lowest <= raw <= highest:
        raise Malformed(f"Register {register.address} ({register.field}) says {raw}, which cannot be true.")
    return _meaning(register.means, raw)


def _meaning(means: Means, raw: int) -> int | float:
    if means is Means.TENTHS_OF_PERCENT:
        return raw / 10
    if means is Means.ONE_IS_YES:
        return int(raw == 1)
    if means is Means.ZERO_IS_YES:
        return int(raw == 0)
    if means is Means.LOST_METERS:
        return raw & LOST_METERS_MASK
    return raw


def _without_sensor(fields: dict[Field, Measured]) -> dict[Field, Measured]:
    sensor = fields.get(Field.GRID_SENSOR_OK)
    if sensor is None or sensor.value == 1:
        return fields
    return {field: measured for field, measured in fields.items() if field not in GRID_FIELDS}
