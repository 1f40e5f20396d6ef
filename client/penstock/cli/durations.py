"""Durations for people. Pure."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """Three digits in the unit that fits: "812 us", "12.4 ms", "3.07 s"."""
    if seconds < 0.000_999_5:
        return f"{seconds * 1e6:.0f} us"
    if seconds < 0.999_5:
        return f"{_three_digits(seconds * 1e3)} ms"
    return f"{_three_digits(seconds)} s"


def _three_digits(value: float) -> str:
    if value < 9.995:
        return f"{value:.2f}"
    return f"{value:.1f}" if value < 99.95 else f"{value:.0f}"
