"""Times as package managers write them into their logs."""

import time


def seconds_of(text: str) -> float | None:
    """Seconds since the epoch of "2026-11-22 06:50:11", taken as local time, or of "2026-11-22T06:50:11+0000";
    None if it is no time. The digits are read by hand: strptime takes longer to import than a log to read.
    """
    date, _, clock = text.strip().replace("T", " ", 1).partition(" ")
    clock = clock.strip()
    sign = next((mark for mark in "+-" if mark in clock), "")
    clock, _, offset = clock.partition(sign) if sign else (clock, "", "")
    try:
        year, month, day = (int(word) for word in date.split("-"))
        hour, minute, second = (*(int(word) for word in clock.split(":")), 0)[:3]
        if not (1970 <= year <= 9999 and 1 <= month <= 12 and 1 <= day <= 31):
            return None
        if not (0 <= hour < 24 and 0 <= minute < 60 and 0 <= second <= 60):  # 60: a leap second
            return None
        if not sign:
            return time.mktime((year, month, day, hour, minute, second, 0, 0, -1))
        east = (int(offset[:2]) * 60 + int(offset[-2:])) * 60
    except (ValueError, OverflowError):
        return None
    utc = _days(year, month, day) * 86400 + hour * 3600 + minute * 60 + second
    return float(utc - east if sign == "+" else utc + east)


def written(seconds: float) -> str:
    """ "2026-11-22 06:50:11", local time; "" for what is no time."""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
    except (ValueError, OverflowError, OSError):
        return ""


def _days(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01 in the Gregorian calendar; years are taken to begin in March, leap days to end them."""
    year, month = (year, month - 3) if month > 2 else (year - 1, month + 9)
    leaps = year // 4 - year // 100 + year // 400
    return 365 * year + leaps + (153 * month + 2) // 5 + day - 719469
