"""`gpudoctor hook run WHAT`: what the installed hooks call.

Nothing that goes wrong here stops a package manager: it is one line on standard error. Only the exit code STOP of
`judging` does, where a person asked for it with --enforce. What concerns no GPU package is over before anything
of the engine is imported.
"""

import os
import sys
from collections.abc import Callable, Mapping, Sequence

from gpudoctor.hooks.judging import is_off, judge, look_afterwards, speak, unforeseen
from gpudoctor.hooks.verdict import (
    DEADLINE,
    Verdict,
    first_line,
    open_standard_streams,
    read_standard_input,
    say,
    within,
)

COULD_NOT_TELL = 3  # exit code


def run_hook(arguments: Sequence[str]) -> int:
    """One call by a hook. Returns its exit code; prints to standard error, but for what a protocol wants."""
    open_standard_streams()
    what, *words = arguments or ("",)
    if what == "watch":
        from gpudoctor.hooks.watch import watch_command  # here for start-up

        return watch_command(words)
    work = _WORK.get(what)
    if work is None:
        say(f"there is no hook {what!r}; `gpudoctor hook` lists the kinds")
        return COULD_NOT_TELL
    try:
        return work(words)
    except KeyboardInterrupt:
        say("interrupted")
    except Exception as error:  # noqa: BLE001 - the package manager goes on, whatever happened to its hook
        say(f"its hook {what} failed, which stops nothing ({type(error).__name__}: {first_line(error)})")
    return 0


def _apt_before(words: Sequence[str]) -> int:
    from gpudoctor.preflight.apt_hook import parse_pre_install_pkgs
    from gpudoctor.preflight.transaction import NoTransaction

    named = os.environ.get("APT_HOOK_INFO_FD", "0")
    descriptor = int(named) if named.isascii() and named.isdigit() else 0
    if os.isatty(descriptor):
        say("`hook run apt-before` is what apt calls: it reads what apt is about to do")
        return 0
    text = read_standard_input(descriptor, DEADLINE)
    if text is None:
        return speak(unforeseen("apt did not tell what it is about to do"))
    try:
        transaction = parse_pre_install_pkgs(text)
    except NoTransaction as reason:
        return speak(unforeseen(str(reason)))
    enforce = _apt_setting(text, "GpuDoctor::Enforce")
    override = "repeat the command with `-o GpuDoctor::Enforce=false`"
    return speak(judge(transaction, bool(enforce) and not is_off(enforce), override))


def _apt_setting(text: str, name: str) -> str:
    """A setting of apt's, from what it tells its hooks before the packages; "" if it is not set. The last counts."""
    value = ""
    for line in text.partition("\n\n")[0].splitlines():
        key, equals, said = line.partition("=")
        if equals and key.lower() == name.lower():
            value = said
    return value


def _apt_after(words: Sequence[str]) -> int:
    return speak(look_afterwards(noted_only=True))


def _dnf_after(words: Sequence[str]) -> int:
    # dnf5 calls it after every transaction, and its hook before left a note; dnf4 has none before, and calls it only
    # for packages that matter.
    return speak(look_afterwards(noted_only="--noted" in words))


def _kernel(words: Sequence[str]) -> int:
    import re

    release = words[0] if words else ""
    if not re.fullmatch(r"[0-9][A-Za-z0-9._+~-]{0,99}", release):
        say(f"{release[:80]!r} is no release of a kernel")
        return 0

    def look() -> Verdict:
        from gpudoctor.hooks.upgrade import kernel

        return kernel(release)

    return speak(within(DEADLINE, look))


def _dnf_before(words: Sequence[str]) -> int:
    from gpudoctor.hooks.dnf5 import converse

    return converse("--enforce" in words)


def _zypper(words: Sequence[str]) -> int:
    from gpudoctor.hooks.zypp import serve

    return serve(sys.stdin.buffer, sys.stdout.buffer)


def _pacman_removals(words: Sequence[str]) -> int:
    from gpudoctor.hooks.alpm import note_removals

    return note_removals()


def _pacman_before(words: Sequence[str]) -> int:
    from gpudoctor.hooks.alpm import before

    return before("--enforce" in words)


_WORK: Mapping[str, Callable[[Sequence[str]], int]] = {
    "apt-before": _apt_before,
    "apt-after": _apt_after,
    "kernel": _kernel,
    "dnf-before": _dnf_before,
    "dnf-after": _dnf_after,
    "zypper": _zypper,
    "pacman-removals": _pacman_removals,
    "pacman-before": _pacman_before,
    "pacman-after": _apt_after,
}
