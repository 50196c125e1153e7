"""Takes out of a snapshot what tells whose machine it is. The same word gets the same replacement everywhere: in
questions, answers, compressed logs and binary files, so that a replay finds its answers.
"""

import base64
import gzip
import re
from collections.abc import Iterator, Mapping
from functools import partial
from typing import NamedTuple

from gpudoctor.facts.apt_history import unpack
from gpudoctor.redaction.relevance import relevant
from gpudoctor.redaction.replacements import REPLACED, Names
from gpudoctor.redaction.shapes import SHORT_UUID, UUID, Shape, shapes_for
from gpudoctor.redaction.words import (
    PEOPLE,
    PEOPLE_MARKS,
    SECRET_NAME,
    Secrets,
    fit_to_replace,
    is_serial,
    secrets_among,
    spellings,
)
from gpudoctor.snapshot import Json

NOTHING_TOLD = Secrets()


def redacted(answers: Mapping[str, Json], told: Secrets = NOTHING_TOLD) -> dict[str, Json]:
    """The answers with addresses, unique ids, serial numbers, passwords and names of people and machines replaced.

    `told`: what the machine told beside the answers (`secrets_told_by`). What no check judges by is left out.
    """
    blobs = [blob for answer in answers.items() for blob in _blobs(*answer)]
    binaries = b"\0".join(blob for blob in blobs if _as_text(blob) is None)
    # What is left out names people, too: the whole answers are searched.
    texts = {
        question: "\0".join(_strings(question, answer))
        for question, answer in answers.items()
        if not question.endswith("/RECORD")
    }
    texts["questions"] = "\n".join(answers)
    secrets = told | secrets_among(texts, binaries) | Secrets(serials=tuple(_serials([*answers.values()])))
    home = _home_elsewhere(answers)
    if home.encode("utf-8", "surrogateescape") in binaries:  # every word there keeps its length
        home = ""
    if home:
        secrets |= Secrets(people=(home.rpartition("/")[2],))
    names = Names({}, "\0".join(texts.values()))
    for uuid in UUID.finditer(names.taken):  # all are known before the first short form of one is met
        names.instead("uuid", uuid["value"])
    words = _words(secrets, names, binaries)
    redaction = _Redaction(names, words, _any_of(words), home)
    found: dict[str, Json] = {}
    for question, answer in answers.items():
        asked = _text(question, redaction)
        kept = relevant(question, answer)
        if question == "list /home" and isinstance(kept, list):
            found[asked] = [_text(f"/home/{name}", redaction).removeprefix("/home/") for name in kept]
        elif question.startswith("bytes ") and isinstance(kept, str):
            found[asked] = _encoded(kept, redaction)
        elif question.endswith("/RECORD") and isinstance(kept, str):  # paths and digests, megabytes of them
            found[asked] = _without_names(kept, redaction)
        else:
            found[asked] = kept if question.startswith("digest ") else _value(kept, redaction)
    return found


class _Redaction(NamedTuple):
    names: Names
    words: Mapping[str, str]
    pattern: re.Pattern[str] | None  # any of these words
    home: str  # the user's home folder where it does not lie below /home, as on clusters; "" elsewhere


def _words(secrets: Secrets, names: Names, binaries: bytes) -> dict[str, str]:
    """What to write for each word, in each of its spellings."""
    words: dict[str, str] = {}

    def add(kind: str, word: str, *spelt: str) -> None:
        if word and not REPLACED[kind].fullmatch(word):
            inside = word.encode("utf-8", "surrogateescape")
            new = names.instead(kind, word, len(inside) if kind != "domain" and inside in binaries else 0)
            for spelling in (word, *spelt):
                words.setdefault(spelling, new)

    for id in secrets.ids:
        add("id", id)
    for serial in filter(is_serial, secrets.serials):
        add("serial", serial)
    for password in secrets.passwords:
        add("key", password, *spellings(password))
    for machine in secrets.machines:
        short, _, domain = machine.partition(".")
        if fit_to_replace(short):
            add("machine", short, short.lower(), short.upper(), *spellings(short))
        if "." in domain:  # "box.local" tells no more than its first part
            add("domain", domain)
    for domain in secrets.domains:
        add("domain", domain)
    for person in secrets.people:
        if fit_to_replace(person):
            add("person", person, *spellings(person))
        elif person:  # only as the name of a home
            there = any(
                f"/{homes}/{person}/".encode("utf-8", "surrogateescape") in binaries for homes in ("home", "Users")
            )
            names.instead("person", person, len(person) if there else 0)
    return words


def _any_of(words: Mapping[str, str]) -> re.Pattern[str] | None:
    if not words:
        return None
    longest_first = sorted(words, key=lambda word: (-len(word), word))
    return re.compile(rf"(?<![A-Za-z0-9])(?:{'|'.join(map(re.escape, longest_first))})(?![A-Za-z0-9])")


def _text(text: str, redaction: _Redaction) -> str:
    if redaction.home:
        text = text.replace(redaction.home, f"/home/{redaction.home.rpartition('/')[2]}")
    for shape in shapes_for(text):
        text = shape.pattern.sub(partial(_replaced, shape=shape, names=redaction.names), text)
    text = SHORT_UUID.sub(partial(_lengthened, names=redaction.names), text)
    return _without_names(text, redaction)


def _without_names(text: str, redaction: _Redaction) -> str:
    if any(mark in text for mark in PEOPLE_MARKS):
        text = PEOPLE.sub(lambda found: redaction.names.instead("person", found[0]), text)
    return redaction.pattern.sub(lambda found: redaction.words[found[0]], text) if redaction.pattern else text


def _replaced(found: re.Match[str], shape: Shape, names: Names, *, same_length: bool = False) -> str:
    if shape.stays(found):
        return found[0]
    word = found["value"]
    new = names.instead(shape.kind, word)
    if same_length and len(new) != len(word):
        new = "".join("x" if letter.isalnum() else letter for letter in word)
    start, end = (place - found.start() for place in found.span("value"))
    return found[0][:start] + new + found[0][end:]


def _lengthened(found: re.Match[str], names: Names) -> str:
    """CUDA takes the beginning of a UUID for all of it. Of the replaced ones all have the same beginning."""
    known = names.given.get("uuid", {})
    whole = next((uuid for uuid in known if uuid.startswith(found["value"].lower())), found["value"])
    return found["before"] + names.instead("uuid", whole)


def _value(value: Json, redaction: _Redaction) -> Json:
    match value:
        case str():
            return _text(value, redaction)
        case list():
            return [_value(item, redaction) for item in value]
        case {"base64": str(encoded), **rest} if not rest:  # a field of a database
            return {"base64": _encoded(encoded, redaction)}
        case dict():
            return {_text(name, redaction): _named(name, item, redaction) for name, item in value.items()}
        case _:
            return value


def _named(name: str, value: Json, redaction: _Redaction) -> Json:
    if name in _SERIAL_FIELDS and isinstance(value, str | int) and is_serial(str(value)):
        return redaction.names.instead("serial", str(value))
    if SECRET_NAME.fullmatch(name) and isinstance(value, str) and value:
        return redaction.names.instead("key", value)
    return _value(value, redaction)


_SERIAL_FIELDS = ("serial", "board_serial")
_GZIP = b"\x1f\x8b"
_UNPACKED = 64 * 1024 * 1024  # bytes


def _encoded(encoded: str, redaction: _Redaction) -> str:
    """The same of the bytes of a file: in a text names may become longer, in any other file all keeps its place."""
    try:
        data = base64.b64decode(encoded, validate=True)
    except ValueError:  # what is damaged is damaged afterwards, and says nothing any more
        return "damaged"
    text = _as_text(data)
    if text is None:
        return base64.b64encode(_binary(data, redaction)).decode()
    changed = _text(text, redaction)
    if changed == text:
        return encoded
    plain = changed.encode("utf-8", "surrogateescape")
    return base64.b64encode(gzip.compress(plain, mtime=0) if data.startswith(_GZIP) else plain).decode()


def _as_text(data: bytes) -> str | None:
    """Of a text, or of a log that was packed with gzip; None of all else."""
    if data.startswith(_GZIP):
        return unpack(data, _UNPACKED)
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    return None if re.search(r"[\0-\x08\x0e-\x1a\x1c-\x1f]", text) else text


_TEXTS = re.compile(rb"[\x20-\x7e]{8,}")  # within a file that is none; no shape is shorter


def _within(found: re.Match[bytes], names: Names) -> bytes:
    text = found[0].decode("ascii")
    for shape in shapes_for(text):
        if shape.in_binary:
            text = shape.pattern.sub(partial(_replaced, shape=shape, names=names, same_length=True), text)
    return text.encode("ascii")


def _binary(data: bytes, redaction: _Redaction) -> bytes:
    data = _TEXTS.sub(partial(_within, names=redaction.names), data)
    for word, new in redaction.words.items():
        inside, other = (one.encode("utf-8", "surrogateescape") for one in (word, new))
        if inside in data:
            other = other if len(other) == len(inside) else b"x" * len(inside)
            data = re.sub(rb"(?<![A-Za-z0-9])" + re.escape(inside) + rb"(?![A-Za-z0-9])", other, data)
    return re.sub(rb"(?<=/home/)[A-Za-z0-9._-]+", lambda found: _home_in_binary(found[0], redaction.names), data)


def _home_in_binary(name: bytes, names: Names) -> bytes:
    new = names.instead("person", name.decode(), len(name)).encode()
    return new if len(new) == len(name) else b"x" * len(name)


def _strings(question: str, value: Json) -> Iterator[str]:
    """All texts in an answer, unpacked."""
    match value:
        case str():
            if question.startswith("bytes "):
                yield from (text for blob in _blobs(question, value) if (text := _as_text(blob)) is not None)
            else:
                yield value
        case list():
            for item in value:
                yield from _strings(question, item)
        case {"base64": str(encoded), **rest} if not rest:
            yield from _strings("bytes ", encoded)
        case dict():
            for name, item in value.items():
                yield f"{name}={item}" if isinstance(item, str) else name
                yield from _strings(question, item)


def _blobs(question: str, value: Json) -> Iterator[bytes]:
    """The bytes of files and of fields of databases."""
    match value:
        case str() if question.startswith("bytes "):
            try:
                yield base64.b64decode(value, validate=True)
            except ValueError:
                return
        case {"base64": str(encoded), **rest} if not rest:
            yield from _blobs("bytes ", encoded)
        case list():
            for item in value:
                yield from _blobs("", item)
        case _:
            return


def _serials(value: Json) -> Iterator[str]:
    match value:
        case list():
            for item in value:
                yield from _serials(item)
        case dict():
            for name, item in value.items():
                if name in _SERIAL_FIELDS and isinstance(item, str | int):
                    yield str(item)
                yield from _serials(item)


def _home_elsewhere(answers: Mapping[str, Json]) -> str:
    environ = answers.get("read /proc/self/environ")
    variables = environ.split("\0") if isinstance(environ, str) else []
    home = next((entry[5:].rstrip("/") for entry in variables if entry.startswith("HOME=/")), "")
    return "" if home.startswith("/home/") or home.count("/") < 2 else home
