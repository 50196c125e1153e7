"""Asks this machine's package manager what it would do. Nothing is changed, downloaded or refreshed by that."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from gpudoctor.facts.package_manager import PackageManager, UnsafeWord, package_name, package_version
from gpudoctor.host import Host
from gpudoctor.preflight.apt_simulation import read_apt
from gpudoctor.preflight.dnf_simulation import read_dnf
from gpudoctor.preflight.pacman_simulation import read_pacman
from gpudoctor.preflight.transaction import NoTransaction, Transaction


class Question(NamedTuple):
    """One command that only plans."""

    argv: tuple[str, ...]
    source: str  # the same in short, as the report names it
    read: Callable[[str, str], Transaction]


def ask(host: Host, manager: PackageManager, command: str, timeout: float) -> Transaction:
    """`command`: what somebody is about to run ("upgrade", "install NAME..."), "" the package manager's full upgrade.

    Raises NoTransaction, in words for the user, where there is no answer to judge; Unavailable if it takes too long.
    """
    question = question_for(manager, command)
    if question.read is read_pacman and not any(name.endswith(".db") for name in host.list(_PACMAN_LISTS) or ()):
        # Without them pacman says nothing, which would look as if there were nothing to do.
        raise NoTransaction(f"{question.source}: there is no list of packages in {_PACMAN_LISTS}")
    done = host.run(question.argv, timeout=timeout)
    if done is None:
        raise NoTransaction(f"there is no {question.argv[0]} here")
    said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    if done.exit_code and said and not done.stdout.strip() and question.read is read_dnf:
        # Where it has no lists, dnf says so in words of their own.
        raise NoTransaction(f"{question.source}: {next((line for line in said if line.startswith('Error')), said[0])}")
    return question.read(f"{done.stdout}\n{done.stderr}", question.source)


def question_for(manager: PackageManager, command: str) -> Question:
    """Raises NoTransaction for a command that is none of this package manager's, or cannot be tried."""
    words = command.split()
    match manager.kind:
        case "apt":
            return _apt(words)
        case "dnf":
            return _dnf(words)
        case "pacman":
            return _pacman(words)
        case "":
            raise NoTransaction(f"{manager.reason}; a plan made elsewhere can be given with --simulation FILE")
    raise NoTransaction(f"{manager.kind} is not asked by this version; apt-get, dnf and pacman are")


_APT_VERBS: Mapping[str, str] = {
    **{verb: verb for verb in ("upgrade", "dist-upgrade", "install", "remove", "purge", "autoremove")},
    "full-upgrade": "dist-upgrade",
}


def _apt(words: Sequence[str]) -> Question:
    program, verb, names = _split(words, ("apt-get", "apt"), "dist-upgrade")
    if verb not in _APT_VERBS:
        raise NoTransaction(_unknown("apt", verb, _APT_VERBS))
    # What `apt upgrade` installs anew `apt-get upgrade` keeps back: kernels, above all.
    more = ("--with-new-pkgs",) if (program, verb) == ("apt", "upgrade") else ()
    said = ("apt-get", "-s", *more, _APT_VERBS[verb], *names)
    # As root apt would write its cache anew where that is out of date; a mere question shall write nothing.
    quiet = ("-o", "Dir::Cache::pkgcache=", "-o", "Dir::Cache::srcpkgcache=") if os.geteuid() == 0 else ()
    return Question((*said[:2], *quiet, *said[2:]), " ".join(said), read_apt)


_DNF_VERBS = ("upgrade", "install", "remove", "downgrade", "distro-sync", "autoremove")


def _dnf(words: Sequence[str]) -> Question:
    _, verb, names = _split(words, ("dnf", "dnf5", "yum"), "upgrade")
    verb = "upgrade" if verb == "update" else verb
    if verb not in _DNF_VERBS:
        raise NoTransaction(_unknown("dnf", verb, _DNF_VERBS))
    # -C: from the lists that are here, whatever their age.
    argv = ("dnf", "-C", "--assumeno", verb, *names)
    return Question(argv, " ".join(argv), read_dnf)


_PACMAN_LISTS = "/var/lib/pacman/sync"
_PACMAN_VERBS = ("upgrade", "install", "-Syu", "-Su", "-S")


def _pacman(words: Sequence[str]) -> Question:
    _, verb, names = _split(words, ("pacman",), "-Su")
    if verb not in _PACMAN_VERBS:
        raise NoTransaction(_unknown("pacman", verb, _PACMAN_VERBS))
    # Never with -y: lists that are refreshed without an upgrade are a partial upgrade in waiting.
    how = "-Sp" if verb in ("install", "-S") else "-Sup"
    argv = ("pacman", how, "--print-format", "%n %v", *names)
    return Question(argv, " ".join(["pacman", how, *names]), read_pacman)


def _split(words: Sequence[str], programs: Sequence[str], default: str) -> tuple[str, str, tuple[str, ...]]:
    """Program, command and packages of "apt install NAME"; the program may be left out."""
    program = words[0] if words and words[0] in programs else ""
    verb, *names = words[bool(program) :] or (default,)
    return program, verb, tuple(_package(name) for name in names)


def _package(word: str) -> str:
    name, equals, version = word.partition("=")
    try:
        # dnf's names can have a version behind them (kernel-core-0:6.16.10), which fits the pattern of versions.
        return (package_name(name) + f"={package_version(version)}") if equals else package_version(name)
    except UnsafeWord as reason:
        raise NoTransaction(f"--command: {word!r} is no name of a package") from reason


def _unknown(program: str, verb: str, verbs: Sequence[str] | Mapping[str, str]) -> str:
    return f"--command: {verb!r} is no command of {program} that can be tried; {', '.join(verbs)} are"
