"""Sigenergy over Modbus TCP: the plant's registers once a second, as fields of the one Reading."""

from __future__ import annotations

from devices.energy.sources.sigenergy_modbus.adapter import ModbusSettings, SigenergyModbus, build

__all__ = ["ModbusSettings", "SigenergyModbus", "build"]
