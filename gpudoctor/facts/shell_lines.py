"""Reads which variables a line of a shell's, PAM's or systemd's file sets. It reads lines, it does not run them."""

_KEYWORDS = ("then", "else", "do", "{", "(", "!", "if", "elif", "while", "builtin", "command")
_EXPORTS = ("export", "declare", "typeset", "readonly")


def numbered_lines(text: str) -> list[tuple[int, str]]:
    """The lines with their numbers from 1; one that ends in a backslash is joined with the next, line break and all."""
    found: list[tuple[int, str]] = []
    open_line = False
    # Not splitlines: form feeds and Unicode's separators end no line of a shell.
    for number, line in enumerate(text.removesuffix("\n").split("\n") if text else (), start=1):
        if open_line:
            first, begun = found.pop()
            found.append((first, f"{begun}\n{line}"))
        else:
            found.append((number, line))
        open_line = line.endswith("\\") and not line.endswith("\\\\") and not line.lstrip().startswith("#")
    return found


def assignments(line: str, path: str) -> list[tuple[str, str]]:
    """(name, value) of every variable that the line sets for good, quotes taken off.

    The path tells the language: PAM's /etc/environment, systemd's environment.d and pam_env have one variable a
    line; what ends in .fish is fish's; everything else is read as a shell's, csh's setenv included.
    """
    if path.endswith((".pam_environment", "pam_env.conf")):
        return _of_pam(line)
    if path == "/etc/environment" or path.endswith(".conf"):
        return _whole_line(line)
    found = []
    for words in _commands(line):
        while words and words[0] in _KEYWORDS:
            words = words[1:]
        if path.endswith(".fish"):
            found += _of_fish(words)
        elif words and words[0] in _EXPORTS:
            found += [pair for pair in map(_pair, words[1:]) if pair]
        elif words and words[0] == "setenv" and len(words) == 3:
            found.append((words[1], words[2]))
        else:
            pairs = [_pair(word) for word in words]
            # A=b before a command holds for that command only.
            found += [pair for pair in pairs if pair] if all(pairs) else []
    return found


def plain_settings(text: str) -> dict[str, str]:
    """Lines NAME=value of a file in which nothing else can stand: os-release(5), GRUB's. The last of a name counts."""
    found = {}
    for line in text.splitlines():
        name, equals, value = line.strip().partition("=")
        if equals and not name.startswith("#"):
            found[name] = value.strip().strip("\"'")
    return found


def _pair(word: str) -> tuple[str, str] | None:
    """("A", "b") of "A=b"; "A+=b" appends, which is "$A" and "b"."""
    name, equals, value = word.partition("=")
    if name.endswith("+"):
        name, value = name[:-1], f"${name[:-1]}{value}"
    return (name, value) if equals and _is_name(name) else None


def _is_name(text: str) -> bool:
    return text.isascii() and text.isidentifier()


def _whole_line(line: str) -> list[tuple[str, str]]:
    name, equals, value = line.strip().removeprefix("export ").lstrip().partition("=")
    return [(name, _unquoted(value.strip()))] if equals and _is_name(name) else []


def _unquoted(value: str) -> str:
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'" else value


def _of_pam(line: str) -> list[tuple[str, str]]:
    """`NAME DEFAULT=value OVERRIDE=value`; an override that is not empty wins."""
    words = next(iter(_commands(line)), [])
    if len(words) < 2 or not _is_name(words[0]):
        return _whole_line(line)
    said = dict(word.partition("=")[::2] for word in words[1:])
    value = said.get("OVERRIDE") or said.get("DEFAULT")
    return [] if value is None else [(words[0], value)]


def _of_fish(words: list[str]) -> list[tuple[str, str]]:
    """`set -gx NAME value value`: fish joins the values of a path with colons, of others with spaces."""
    if not words or words[0] != "set":
        return []
    rest = words[1:]
    flags = []
    while rest and rest[0].startswith("-"):
        flags.append(rest[0])
        rest = rest[1:]
    exported = any(flag == "--export" or (not flag.startswith("--") and "x" in flag) for flag in flags)
    if not exported or not rest or not _is_name(rest[0]):
        return []
    return [(rest[0], (":" if rest[0].endswith("PATH") else " ").join(rest[1:]))]


def _commands(line: str) -> list[list[str]]:
    """The words of each command of a line, quotes taken off. A quote that is left open ends with the line."""
    commands: list[list[str]] = [[]]
    word: str | None = None
    quote, depth = "", 0
    place = 0
    while place < len(line):
        letter = line[place]
        place += 1
        if letter == "\\" and quote != "'":
            following = line[place : place + 1]
            place += 1
            if following != "\n":
                word = (word or "") + ("" if following in ('"', "$", "\\", " ", "'") else "\\") + following
        elif quote:
            quote = "" if letter == quote else quote
            word = (word or "") + (letter if quote else "")
        elif letter in "\"'":
            quote, word = letter, word or ""
        elif letter == "$" and line[place : place + 1] in ("{", "("):
            depth, word, place = depth + 1, (word or "") + line[place - 1 : place + 1], place + 1
        elif depth:
            depth -= letter in "})"
            word = (word or "") + letter
        elif letter == "#" and word is None:
            break
        elif letter.isspace() or letter in ";&|":
            if word is not None:
                commands[-1].append(word)
                word = None
            if letter in ";&|" and commands[-1]:
                commands.append([])
        else:
            word = (word or "") + letter
    if word is not None:
        commands[-1].append(word)
    return [words for words in commands if words]
