"""The tables as text, one row a line, and the difference of two tables in words."""

import json
from collections.abc import Callable, Hashable, Iterator
from itertools import count
from typing import Any, TypeAlias

Table: TypeAlias = dict[str, Any]
Row: TypeAlias = dict[str, Any]

_HEAD = ("about", "date", "sources")
_WIDTH = 160  # of a value in the difference


def as_text(table: Table) -> str:
    """The table as it stands in its file: the head on one line, then each row on a line of its own."""
    text = "{" + _compact({key: table[key] for key in _HEAD})[1:-1]
    for key, value in table.items():
        if key in _HEAD:
            continue
        text += f",\n{_compact(key)}:"
        if isinstance(value, list) and value:
            text += "[\n" + ",\n".join(_compact(row) for row in value) + "\n]"
        elif isinstance(value, dict) and value:
            text += "{\n" + ",\n".join(f"{_compact(name)}:{_compact(row)}" for name, row in value.items()) + "\n}"
        else:
            text += _compact(value)
    return text + "\n}\n"


def spelled_out(rows: list[Row], field: str, name: Callable[[Row], str]) -> None:
    """In place: a field whose text names the row that has the same value gets that value."""
    values = {name(row): row[field] for row in rows}
    for row in rows:
        while isinstance(row[field], str):
            row[field] = values[row[field]]


def named_once(rows: list[Row], field: str, name: Callable[[Row], str]) -> None:
    """In place, the other way round: only the first row that has a value spells it out, later ones name that row."""
    seen: dict[str, str] = {}
    for row in rows:
        value = row[field]
        if value:
            first = seen.setdefault(json.dumps(value, sort_keys=True), name(row))
            row[field] = value if first == name(row) else first


def differences(old: Any, new: Any, place: str = "") -> Iterator[str]:
    """One line for each thing that came ("+"), went ("-") or changed ("~"), with the place where it stands."""
    if old == new:
        return
    if isinstance(old, dict) and isinstance(new, dict):
        for key in (*old, *(key for key in new if key not in old)):
            inside = f"{place}.{key}" if place else key
            if key not in new:
                yield f"- {inside}: {_shown(old[key])}"
            elif key not in old:
                yield f"+ {inside}: {_shown(new[key])}"
            else:
                yield from differences(old[key], new[key], inside)
    elif _are_words(old) and _are_words(new) and set(old) != set(new):
        came, went = (" ".join(word for word in one if word not in other) for one, other in ((new, old), (old, new)))
        yield f"~ {place}: {f'+ {came}' if came else ''}{' ' if came and went else ''}{f'- {went}' if went else ''}"
    elif isinstance(old, list) and isinstance(new, list):
        width = _key_width(old, new)
        before, after = ({_key(row, width): row for row in rows} for rows in (old, new))
        for key in (*before, *(key for key in after if key not in before)):
            inside = f"{place}[{' '.join(map(str, key))}]"
            if key not in after:
                yield f"- {inside}: {_shown(before[key])}"
            elif key not in before:
                yield f"+ {inside}: {_shown(after[key])}"
            elif isinstance(before[key], dict):
                yield from differences(before[key], after[key], inside)
            elif before[key] != after[key]:
                yield f"~ {inside}: {_shown(before[key])} -> {_shown(after[key])}"
        if before == after:
            yield f"~ {place}: the order of the rows"
    else:
        yield f"~ {place}: {_shown(old)} -> {_shown(new)}"


def _are_words(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(word, str) for word in value)


def _key(row: Any, width: int) -> tuple[Hashable, ...]:
    """What names a row: its first columns, or itself where it is a word."""
    columns = list(row.values()) if isinstance(row, dict) else row if isinstance(row, list) else [row]
    return tuple(column if isinstance(column, str | int) else _compact(column) for column in columns[:width])


def _key_width(*tables: list[Any]) -> int:
    """How many of the first columns it takes to tell all rows apart."""
    for width in count(1):
        if width > 8 or all(len({_key(row, width) for row in rows}) == len(rows) for rows in tables):
            return width
    raise AssertionError


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else _compact(value)
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 3]}..."


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
