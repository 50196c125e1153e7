"""The two questions of every hook of a package manager: what will this do to the GPU, and what has it done?

Both are answered at once where no GPU package is touched, before anything of the engine is imported.
"""

import os
from collections.abc import Callable

from gpudoctor.hooks.verdict import DEADLINE, Verdict, say, within

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gpudoctor.preflight.transaction import Transaction

STOP = 10  # exit code; nothing else that can happen to a hook's process gives it

ENVIRONMENT = "GPUDOCTOR_ENFORCE"  # "false" lets an upgrade pass that --enforce would stop


def speak(verdict: Verdict) -> int:
    say(*verdict.lines)
    return STOP if verdict.stop else 0


def judge(transaction: "Transaction", enforce: bool, override: str) -> Verdict:
    """Nothing to say where the transaction does not touch the GPU; costs next to nothing then."""
    from gpudoctor.preflight.transaction import concerns_gpu

    if not concerns_gpu(transaction):
        return Verdict()

    def look() -> Verdict:
        from gpudoctor.hooks.upgrade import before

        return before(transaction, enforce and not is_off(os.environ.get(ENVIRONMENT, "")), override)

    return _noted(look)


def unforeseen(reason: str) -> Verdict:
    """What to do where nobody can say which packages change: the check afterwards needs to know what is wrong now."""

    def look() -> Verdict:
        from gpudoctor.hooks.upgrade import take_stock

        return take_stock(reason)

    return _noted(look)


def _noted(look: Callable[[], Verdict]) -> Verdict:
    """The note is left first: whatever becomes of the look, there is a check afterwards."""
    from gpudoctor.hooks import upgrade_note

    unnoted = upgrade_note.leave(upgrade_note.UpgradeNote())
    verdict = within(DEADLINE, look)
    return verdict._replace(lines=(*verdict.lines, unnoted))


def look_afterwards(*, noted_only: bool) -> Verdict:
    """A check, if the hook before the upgrade left a note; without one only where nothing could leave one."""
    from gpudoctor.hooks import upgrade_note

    note = upgrade_note.read()
    if note is None and noted_only:
        return Verdict()

    def look() -> Verdict:
        from gpudoctor.hooks.upgrade import after

        return after(note or upgrade_note.UpgradeNote())

    return within(DEADLINE, look)


def is_off(text: str) -> bool:
    """As apt understands a boolean."""
    return text.strip().lower() in ("0", "no", "false", "off", "without", "disable")
