"""Says in words how a child of the benchmark died."""

import signal
from contextlib import suppress

from gpudoctor.children import signal_failure

_MEANINGS = {
    signal.SIGSEGV: "a crash inside a library or the driver, not in Python code",
    signal.SIGBUS: "a crash: memory that was mapped could not be reached",
    signal.SIGILL: "this CPU does not know an instruction that a library uses",
    signal.SIGFPE: "a crash inside a library, by an impossible division",
    signal.SIGABRT: "a library gave up by itself",
}


def death(code: int, kills_before: int | None, kills_now: int | None) -> str:
    """How a process ended that had not said everything, from its exit code and the kernel's count of memory kills."""
    if code >= 0:
        return f"it ended with exit code {code} before it had said everything"
    words = f"it was {signal_failure(code)}"
    if code == -signal.SIGKILL:
        if kills_before is None or kills_now is None:
            return f"{words}: somebody killed it, most often the kernel when memory runs out"
        if kills_now > kills_before:
            return f"{words}: memory ran out, and the kernel killed a process meanwhile"
        return f"{words}: somebody killed it (not the kernel for want of memory)"
    with suppress(ValueError):
        meaning = _MEANINGS.get(signal.Signals(-code))
        return f"{words}: {meaning}" if meaning else words
    return words


def oom_kills() -> int | None:
    """How many processes the kernel has killed because memory ran out, None where it does not tell (before 4.13)."""
    try:
        with open("/proc/vmstat", encoding="ascii") as file:
            return next((int(line.split()[1]) for line in file if line.startswith("oom_kill ")), None)
    except OSError:
        return None
