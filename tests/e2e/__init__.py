"""Guests and the operator in real browsers, before a whole site of real processes: ``make e2e``."""
