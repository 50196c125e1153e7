"""Writes gpudoctor/knowledge/foreign_messages.json: messages of the system's programs as they stand in other languages.

    python tools/foreign_messages.py [FOLDER...]

The translations are those of the programs' own catalogues, as Debian's packages bring them: libc-l10n, dpkg, apt,
libapt-pkg, bash, coreutils, dnf, libdnf, libalpm, pacman-package-manager, gcc-12-locales. FOLDER: a
place like /usr/share/locale, which is looked into if none is given. Several are read one after the other,
as of several releases; msgfmt makes such folders of the .po files in a program's sources. A program without any
catalogue is an error: the table would lose what it had from it.
"""

import datetime
import gettext
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gpudoctor.triage.characters import plain_characters

LANGUAGES = ("de", "fr", "es", "it", "pt", "pt_BR", "nl", "pl", "ru", "uk", "cs", "tr", "zh_CN", "zh_TW", "ja", "ko")
MESSAGES = {
    "libc": (
        *("No such file or directory", "Permission denied", "Operation not permitted", "Cannot allocate memory"),
        *("No space left on device", "Key was rejected by service", "Required key not available", "Bus error"),
        *("Segmentation fault", "No such device", "No such device or address", "Invalid argument", "File exists"),
        *("Exec format error", "Input/output error", "Device or resource busy", "Not a directory", "No route to host"),
        *("Too many levels of symbolic links", "Connection refused", "Read-only file system", "symbol lookup error"),
        *("cannot open shared object file", "error while loading shared libraries", "file too short"),
        *("invalid ELF header", "wrong ELF class: ELFCLASS32", "wrong ELF class: ELFCLASS64"),
        *("failed to map segment from shared object", "%s is not a symbolic link\n", "Numerical result out of range"),
    ),
    "dpkg": (
        *("error processing package %s (--%s):\n %s", "error processing archive %s (--%s):\n %s"),
        *("dependency problems - leaving unconfigured", "dependency problems prevent configuration of %s:\n%s"),
        *("Errors were encountered while processing:\n", "%s subprocess returned error exit status %d"),
        *("trying to overwrite '%s', which is also in package %s %s", "installed %s package %s script"),
        "trying to overwrite '%s', which is the diverted version of '%s' (package: %s)",
        "trying to overwrite shared '%s', which is different from other instances of package %s",
        *("conflicting packages - not installing %s", "%s conflicts with %s", "  Package %s is not installed.\n"),
        "cannot copy extracted data for '%s' to '%s': %s",
    ),
    "apt": (
        *("The following packages have unmet dependencies:", "but it is not going to be installed"),
        *("but it is not installable", "but %s is to be installed", "but %s is installed", "Broken packages"),
        *("The following packages have been kept back:", "The following packages will be REMOVED:"),
        *("Unable to locate package %s", "You don't have enough free space in %s."),
        "Held packages were changed and -y was used without --allow-change-held-packages.",
    ),
    "libapt-pkg6.0": (
        *("Unable to correct problems, you have held broken packages.", "Depends", "Conflicts", "Breaks"),
        *("Sub-process %s returned an error code (%u)", "Unable to locate package %s"),
        "dpkg was interrupted, you must manually run '%s' to correct the problem. ",
        "Error, pkgProblemResolver::Resolve generated breaks, this may be caused by held packages.",
    ),
    "bash": ("%s: command not found", "%s: %s: bad interpreter", "Bus error", "Segmentation fault"),
    "coreutils": ("cannot access %s", "cannot stat %s"),
    "dnf": (
        *("No match for argument: %s", "No match for argument", "Unable to find a match"),
        "Package %s is not installed.",
    ),
    "libdnf": (
        *("nothing provides %s needed by %s", "package %s conflicts with %s provided by %s"),
        *("package %s is filtered out by modular filtering", "package %s is filtered out by exclude filtering"),
    ),
    "libalpm": (
        *("conflicting dependencies", "conflicting files", "not enough free disk space"),
        "could not satisfy dependencies",
    ),
    "pacman": ("%s: %s exists in filesystem\n", "unable to satisfy dependency '%s' required by %s\n"),
    "gcc-12": ("unrecognized command-line option %qs", "unrecognized argument in option %qs"),
}  # fmt: skip
TABLE = Path(__file__).parent.parent / "gpudoctor" / "knowledge" / "foreign_messages.json"
_LENGTH = re.compile(r"\.\d+(?=s)")
_SHORTEST = 6  # of Latin letters: shorter words stand in any text


def main(folders: list[str]) -> int:
    rows: dict[str, dict[str, None]] = {}
    for domain, messages in MESSAGES.items():
        found = 0
        for language in LANGUAGES:
            for catalogue in read(folders or ["/usr/share/locale"], language, domain):
                found += 1
                for message in messages:
                    said = catalogue.get(message, message)
                    for ours, theirs in zip(message.split("\n"), said.split("\n"), strict=False):
                        if ours.strip("% s") and tells(ours, theirs):
                            rows.setdefault(ours.strip(), {})[" ".join(plain_characters(theirs).split())] = None
        if not found:
            print(f"no catalogue of {domain} in any of {LANGUAGES}", file=sys.stderr)
            return 1
    head = {
        "about": "Messages of the system's programs, and how other languages say them; %s is what they fill in.",
        "date": datetime.date.today().isoformat(),
        "sources": ["the message catalogues of Debian 12: libc-l10n, dpkg, apt, bash, coreutils, dnf, libdnf, "
                    "pacman-package-manager, gcc-12-locales", "po/*.po of dpkg 1.23, https://git.dpkg.org/git/dpkg/dpkg.git"],
    }  # fmt: skip
    lines = [f"{written(name)}:{written(value)}," for name, value in head.items()]
    told = [f"{written(english)}:{written(sorted(known))}" for english, known in rows.items()]
    text = "\n".join(["{", *lines, '"messages":{', ",\n".join(told), "}", "}\n"])
    TABLE.write_text(text, encoding="utf-8")
    print(f"{sum(map(len, rows.values()))} translations of {len(rows)} messages")
    return 0


def written(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def read(folders: list[str], language: str, domain: str) -> Iterator[dict[str, str]]:
    """The catalogues of a program in a language, without the lengths to which a release shortens what it fills in."""
    for folder in folders:
        path = Path(folder) / language / "LC_MESSAGES" / f"{domain}.mo"
        if path.exists():
            with path.open("rb") as file:
                known: dict[Any, str] = gettext.GNUTranslations(file)._catalog  # type: ignore[attr-defined]
            yield {_LENGTH.sub("", key): _LENGTH.sub("", said) for key, said in known.items() if isinstance(key, str)}


def tells(english: str, said: str) -> bool:
    """Is it another wording, and long enough to be recognised?"""
    bare = said.strip(" :.%s\n")
    return bare.lower() != english.strip(" :.%s\n").lower() and (len(bare) >= _SHORTEST or not bare.isascii())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
