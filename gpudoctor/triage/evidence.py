"""What proves a cause: lines of the text, with their numbers, each once."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from gpudoctor.explanation import part
from gpudoctor.findings import Check, Evidence, Finding
from gpudoctor.triage.paste import Paste
from gpudoctor.triage.shown import THE_TEXT
from gpudoctor.triage.sightings import Sighting

_MOST = 4  # lines for one cause
_LONGEST_LINE = 200
_ENVIRON = "/proc/self/environ"  # where checks read variables; here the text named them


def by_message(check: Check, paste: Paste, sighted: Sequence[Sighting]) -> Finding:
    """A cause that only messages point to: what its check's page says of it, and the lines."""
    return Finding(check.title, "", tuple(_lines(paste, sighted)), part(check, "Repair"))


def with_lines(finding: Finding, paste: Paste, sighted: Sequence[Sighting]) -> Finding:
    """A finding of a check, its proof told by lines of the text, and the messages beside it."""
    numbers = {line.text: line.number for line in reversed(paste.lines) if line.text}
    told = [*_in_lines(finding.evidence, numbers), *_lines(paste, sighted)]
    known: dict[str, Evidence] = {}
    for one in told:
        # What names a whole line says more than a value out of it.
        if one.source not in known or len(one.value) > len(known[one.source].value):
            known[one.source] = one
    return finding._replace(evidence=tuple(known.values()))


def _in_lines(evidence: Iterable[Evidence], numbers: Mapping[str, int]) -> Iterator[Evidence]:
    for one in evidence:
        number = numbers.get(one.value)
        if one.source == _ENVIRON:
            number = next((at for text, at in numbers.items() if one.value in text), number)
            number = number or next((at for text, at in numbers.items() if one.value.partition("=")[2] == text), None)
        if one.source in (THE_TEXT, _ENVIRON) and number is not None:
            yield Evidence(f"line {number}", one.value)
        elif one.source:
            yield one


def _lines(paste: Paste, sighted: Iterable[Sighting]) -> Iterator[Evidence]:
    """Those that tell most first."""
    spans: dict[int, Sighting] = {}
    for sighting in sorted(sighted, key=lambda one: (-one.symptom.tells, one.first)):
        spans.setdefault(sighting.first, sighting)
    for first, sighting in list(spans.items())[:_MOST]:
        words = " ".join(line.own for line in paste.lines[first : sighting.last + 1])
        yield Evidence(f"line {paste.lines[first].number}", _around(words, sighting.words))


def _around(text: str, words: str) -> str:
    """The text around the words, where the line is long."""
    if len(text) <= _LONGEST_LINE:
        return text
    at = max(0, text.find(words[:40]) - 40)
    piece = text[at : at + _LONGEST_LINE]
    return f"{'...' if at else ''}{piece}{'...' if at + _LONGEST_LINE < len(text) else ''}"
