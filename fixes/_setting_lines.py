"""One line of a start-up file taken back: commented out, or with a folder less; all else stays byte for byte."""

import re
from typing import NamedTuple

from gpudoctor.facts.setting_files import folders_listed
from gpudoctor.facts.shell_lines import assignments, numbered_lines

MARK = "# gpudoctor: "

# What sets one variable and does nothing else: in its value no command, and no further statement.
_VARIABLE = r"\$\w+(?!\w)|\$\{(?:[^{}`()$]|\$\w+(?!\w)|\$\{[^{}`()]*\})*\}"
_WORD = rf"(?:[^\s;&|`\"'$()#\\]|{_VARIABLE}|\"(?:[^\"`$\\]|{_VARIABLE})*\"|'[^']*')*"
_SHELL = re.compile(rf"(?:export\s+)?[A-Za-z_]\w*={_WORD}\s*(?:#.*)?")
_CSH = re.compile(rf"setenv\s+[A-Za-z_]\w*\s+{_WORD}\s*(?:#.*)?")
_FISH = re.compile(rf"set(?:\s+--?[a-zA-Z-]+)+\s+[A-Za-z_]\w*(?:\s+{_WORD})*\s*(?:#.*)?")
_PLAIN = re.compile(r"(?:export\s+)?[A-Za-z_]\w*\s*=[^#]*(?:#.*)?")

_BEGIN = r"(?:^|[;&|(]|\b(?:then|do|else)\b)\s*"
# By the end of the file's name, "" a shell's: what opens a condition, a loop or a function, and what closes it.
_BLOCKS = {
    "fish": (rf"{_BEGIN}(?:if|for|while|switch|begin|function)\b", r"(?:^|;)\s*end\b"),
    "cshrc": (r"\bthen\s*$|^\s*(?:foreach|while|switch)\b", r"^\s*(?:end|endif|endsw)\b"),
    "": (
        rf"{_BEGIN}(?:if|case|for|while|until|select)\b|(?:^|\s|\))\{{(?=\s|$)",
        r"(?:^|[;&|])\s*(?:fi|esac|done)\b|(?:^|[;\s])\}(?=\s|;|$)",
    ),
}


class Refused(Exception):
    """The line is not of the simple kind that a program may change; the text says why, as a clause."""


class Edit(NamedTuple):
    """A file's new text, and the line that stands there now, for the proof."""

    text: str
    line: str


def without_line(text: str, path: str, number: int, expected: str) -> Edit:
    """Line `number` made a comment. `expected`: the line as it was read before. Raises Refused."""
    lines, line, ending = _taken(text, path, number, expected)
    lines[number - 1] = f"{MARK}{line}{ending}"
    return Edit("".join(lines), f"{MARK}{line}")


def without_folders(text: str, path: str, number: int, expected: str, folders: tuple[str, ...]) -> Edit:
    """The same, and behind it the line without these folders, if others are left in it. Raises Refused."""
    lines, line, ending = _taken(text, path, number, expected)
    left = line
    for folder in folders:
        left = _without(left, folder)
    lines[number - 1] = f"{MARK}{line}\n{left}{ending}" if _sets_something(left, path) else f"{MARK}{line}{ending}"
    return Edit("".join(lines), f"{MARK}{line}")


def without_config_line(text: str, number: int, folder: str) -> Edit:
    """A line of ld.so.conf, which names a folder and nothing else, made a comment. Raises Refused."""
    lines = _lines(text)
    if number > len(lines) or lines[number - 1].partition("#")[0].split() not in ([folder], [f"{folder}/"]):
        raise Refused("the line names more than this folder")
    line = lines[number - 1].removesuffix("\n")
    lines[number - 1] = f"{MARK}{lines[number - 1]}"
    return Edit("".join(lines), f"{MARK}{line}")


def _lines(text: str) -> list[str]:
    """With their ends. Not splitlines: form feeds and Unicode's separators end no line of a shell."""
    return re.findall(r"[^\n]*\n|[^\n]+$", text)


def _taken(text: str, path: str, number: int, expected: str) -> tuple[list[str], str, str]:
    """All lines with their ends, the one that is meant, and its end. Raises Refused."""
    lines = _lines(text)
    if number > len(lines) or dict(numbered_lines(text)).get(number) != expected:
        raise Refused("the file has changed since it was read")
    if "\n" in expected or "\r" in text:
        raise Refused("the setting goes on over several lines")
    line = lines[number - 1].removesuffix("\n")
    ending = lines[number - 1][len(line) :]
    if len(assignments(line, path)) != 1 or not _form(path).fullmatch(line.strip()):
        raise Refused("the line does more than set this one variable")
    if line[:1].isspace() and not _one_setting_a_line(path):
        raise Refused("the line is indented, as in a condition or a function")
    if not _one_setting_a_line(path) and _depth("".join(lines[: number - 1]), path) != 0:
        raise Refused("the line stands in a condition or a function")
    return lines, line, ending


def _one_setting_a_line(path: str) -> bool:
    return path == "/etc/environment" or path.endswith((".conf", ".pam_environment"))


def _form(path: str) -> re.Pattern[str]:
    if path.endswith(".fish"):
        return _FISH
    if path.endswith("cshrc"):
        return _CSH
    # pam_env.conf has a form of its own, with words behind the name; none of them is rewritten by a program.
    return _PLAIN if _one_setting_a_line(path) else _SHELL


def _depth(text: str, path: str) -> int:
    """How many conditions, loops and functions are open behind this text; -1 where that is not sure."""
    if "<<" in text:
        return -1
    opens, closes = _BLOCKS[next(ending for ending in _BLOCKS if path.endswith(ending))]
    depth = 0
    for line in text.split("\n"):
        if len(line) > 4096:
            return -1  # nothing that a person wrote
        code = re.sub(r"(?:^|\s)#.*", "", re.sub(r"\\.|'[^']*'|\"(?:[^\"\\]|\\.)*\"", "x", line))
        if '"' in code or "'" in code:
            return -1  # a text over several lines
        code = re.sub(r"\$\{[^}]*\}", "x", code)
        depth += len(re.findall(opens, code)) - len(re.findall(closes, code))
        if depth < 0:
            return -1
    return depth


def _without(line: str, folder: str) -> str:
    """The line without a folder of its list and the colon that belonged to it. Raises Refused."""
    inside = rf"(?<=[=:;\"'\s]){re.escape(folder)}/?(?=[:;\"'\s]|\$\{{|$)"
    found = list(re.finditer(inside, line))
    if len(found) != 1:
        raise Refused(f"{folder} does not stand in it as it is searched")
    start, end = found[0].span()
    if line[end : end + 1] in (":", ";"):
        end += 1
    elif line[start - 1 : start] in (":", ";"):
        start -= 1
    return line[:start] + line[end:]


def _sets_something(line: str, path: str) -> bool:
    """Is a folder left in it, beside what the variable held before?"""
    return any(folders_listed(value) for _, value in assignments(line, path))
