"""Sizes and times as people read them."""

_UNITS = ("B", "KB", "MB", "GB", "TB", "PB", "EB")


def format_bytes(size: float) -> str:
    """Bytes in powers of 1000 with three digits: 1.23 GB."""
    value, unit = float(size), _UNITS[0]
    for unit in _UNITS:
        if value < 999.5 or unit == _UNITS[-1]:
            break
        value /= 1000
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.3g} {unit}"


def format_seconds(seconds: float) -> str:
    """Seconds below two minutes, else minutes or hours; nothing finer than 10 ms."""
    if seconds < 0.01:
        return "under 0.01 s"
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 7200 else f"{seconds / 3600:.3g} h"
