"""What stands for what was taken out of a snapshot: the same for the same word, and told from a word of somebody's.

Where each letter has its place, it has as many as the word.
"""

import re
from collections.abc import Callable
from ipaddress import IPv4Address
from typing import NamedTuple


class Names(NamedTuple):
    """What stands for what, by kind and word. `taken`: all that is said, for no replacement may be said already."""

    given: dict[str, dict[str, str]]
    taken: str

    def instead(self, kind: str, word: str, length: int = 0) -> str:
        """The same for the same word. `length`: as many letters, for files in which each has its place."""
        if REPLACED[kind].fullmatch(word):
            return word
        known = self.given.setdefault(kind, {})
        spelt = word.lower() if kind in _ANY_CASE else word
        if spelt not in known:
            number = len(known) + 1
            while (new := _fitted(FORMS[kind](number), number, length)) in self.taken or new in known.values():
                number += 1
            known[spelt] = new
        return known[spelt]


_ANY_CASE = ("uuid", "mac", "machine", "domain", "site", "ipv6")


def _fitted(form: str, number: int, length: int) -> str:
    """ "user1" with 4 letters: "use1"; with 7: "user001"."""
    if not length:
        return form
    digits = str(number)
    letters = re.sub("[^a-z]", "", form)[: max(length - len(digits), 0)]
    return letters + digits.zfill(length - len(letters))


def _ipv4(number: int) -> str:
    """Of the networks that are kept free for documentation (RFC 5737), then of the one for benchmarks (RFC 2544)."""
    networks = ("192.0.2.", "198.51.100.", "203.0.113.")
    block, rest = divmod(number - 1, 254)
    return f"{networks[block]}{rest + 1}" if block < 3 else str(IPv4Address("198.18.0.0") + number)


# What stands for the word of this number.
FORMS: dict[str, Callable[[int], str]] = {
    "key": lambda number: f"redacted-{number}",
    "grub": lambda number: f"grub.pbkdf2.redacted-{number}",
    "uuid": lambda number: f"00000000-0000-0000-0000-{number:012d}",
    "volume": lambda number: f"0000-{number:04d}",
    "disk": lambda number: f"disk-{number}",
    "partition": lambda number: f"{number:08d}-00",
    "id": lambda number: f"{number:032d}",
    "container": lambda number: f"{number:064d}",
    "mac": lambda number: f"02:00:00:00:{number >> 8 & 255:02x}:{number & 255:02x}",
    "interface": lambda number: f"02000000{number:04x}",
    "mail": lambda number: f"user{number}@redacted.invalid",
    "site": lambda number: f"host{number}.redacted.invalid",
    "ipv6": lambda number: f"2001:db8::{number:x}",
    "ipv4": _ipv4,
    "tagged": lambda number: f"redacted-{number}",
    "person": lambda number: f"user{number}",
    "machine": lambda number: f"redacted-host-{number}" if number > 1 else "redacted-host",
    "domain": lambda number: f"domain{number}.redacted.invalid",
    "serial": lambda number: f"serial-{number}",
}
# What a replaced word looks like: it is left as it is, so that redacting once more changes nothing.
REPLACED: dict[str, re.Pattern[str]] = {
    "key": re.compile(r"redacted-?\d*|redac(?:te?)?\d{1,3}"),
    "grub": re.compile(r"grub\.pbkdf2\.redacted-\d+"),
    "uuid": re.compile(r"00000000-0000-0000-0000-\d{12}"),
    "volume": re.compile(r"0000-\d{4}"),
    "disk": re.compile(r"disk-\d+"),
    "partition": re.compile(r"\d{8}-00"),
    "id": re.compile(r"0{20}\d{12}"),
    "container": re.compile(r"0{50}\d{14}"),
    "mac": re.compile(r"02:00:00:00:[0-9a-f]{2}:[0-9a-f]{2}"),
    "interface": re.compile(r"02000000[0-9a-f]{4}"),
    "mail": re.compile(r"user\d+@redacted\.invalid"),
    "site": re.compile(r"(?:host|domain)\d+\.redacted\.invalid"),
    "ipv6": re.compile(r"2001:db8::[0-9a-f]+"),
    "ipv4": re.compile(r"(?:192\.0\.2|198\.51\.100|203\.0\.113|198\.1[89]\.\d+)\.\d+"),
    "tagged": re.compile(r"redacted-\d+|serial-?\d+|ser(?:ia?)?\d{1,2}"),
    "person": re.compile(r"(?:user|use|us)\d+|u\d"),
    "machine": re.compile(
        rf"redacted-host(?:-\d+)?|(?:{'|'.join('redactedhost'[:length] for length in range(2, 13))})\d+"
    ),
    "domain": re.compile(r"(?:host|domain)\d+\.redacted\.invalid"),
    "serial": re.compile(r"redacted-\d+|serial-?\d+|ser(?:ia?)?\d{1,2}"),
}
