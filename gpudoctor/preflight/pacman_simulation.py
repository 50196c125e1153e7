"""pacman's plan: what `pacman -Sup --print-format '%n %v'` prints. It names what comes, and not what it replaces."""

import re

from gpudoctor.preflight.transaction import NoTransaction, Transaction, change

_LINE = re.compile(r"(\S+) ((?:\d+:)?[^\s-]+-\d+(?:\.\d+)?)")
_IGNORED = re.compile(r"^warning: (\S+): ignoring package upgrade", re.MULTILINE)
_NOTES = (":: ", "warning: ", " there is nothing to do")


def is_pacman(text: str) -> bool:
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith(_NOTES)]
    return bool(lines) and all(_LINE.fullmatch(line) or line.startswith("error: ") for line in lines)


def read_pacman(text: str, source: str) -> Transaction:
    """Raises NoTransaction for any other text, and for what pacman could not do."""
    changes = []
    for line in text.splitlines():
        if line.startswith("error: "):
            raise NoTransaction(f"{source}: pacman cannot do this: {line.removeprefix('error: ')}")
        if not line.strip() or line.startswith(_NOTES):
            continue
        found = _LINE.fullmatch(line)
        if found is None:
            raise NoTransaction(
                f"{source}: a line that `pacman -Sup --print-format '%n %v'` does not print: {line[:80]!r}"
            )
        try:
            changes.append(change(found.group(1), "", "", found.group(2)))
        except NoTransaction as reason:
            raise NoTransaction(f"{source}: {reason}") from reason
    if changes and not text.endswith("\n"):
        raise NoTransaction(f"{source}: it is cut short: its last line has no end")
    return Transaction("pacman", tuple(changes), tuple(_IGNORED.findall(text)), source)
