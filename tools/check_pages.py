"""The Markdown that the documentation takes from the program: a page for each check, and the fields of the report."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from gpudoctor.explanation import HEADINGS, parts, patterns
from gpudoctor.findings import Check
from gpudoctor.registry import registry
from gpudoctor.repair import fixes_for
from gpudoctor.spoken_messages import spoken
from gpudoctor.symptoms import Tells

DOMAINS = {
    "bench": "What the benchmark found",
    "bitsandbytes": "bitsandbytes",
    "container": "Containers",
    "cuda": "CUDA toolkits and libraries",
    "cudnn": "cuDNN",
    "cupy": "CuPy",
    "devices": "Device nodes",
    "driver": "The driver",
    "env": "Environment variables",
    "fabric": "NVSwitch servers",
    "gpu": "States of a GPU",
    "health": "Health of a GPU",
    "jax": "JAX",
    "kernel": "The kernel and its module",
    "nccl": "NCCL",
    "numba": "Numba",
    "onnxruntime": "ONNX Runtime",
    "packages": "Packages of the system",
    "pci": "The PCI bus",
    "python": "Python environments",
    "request": "What was asked for with `fix --to`",
    "tensorflow": "TensorFlow",
    "torch": "PyTorch",
    "triton": "Triton",
    "wsl": "WSL",
}
_TAKEN_AS_IT_IS = re.compile(r"(`[^`]+`)|(https?://[^\s;,)]+[^\s;,).])")
_MARKS = re.compile(r"([\\`*_<>\[\]{}#|$~!])")


def check_pages() -> Iterator[tuple[str, str]]:
    """(name of the file, Markdown) of every registered check, of each domain, and of the list of the domains."""
    checks = sorted(registry.checks.values(), key=lambda check: check.id)
    domains = sorted({domain_of(check) for check in checks})
    rows = [f"- [{DOMAINS.get(name, name)}]({name}.md): `{name}.*`" for name in domains]
    before = "One page for each, as `gpudoctor explain` prints it. All messages of all checks: {ref}`genindex`."
    yield "index.md", page("Checks", before, rows, domains)
    for name in domains:
        own = [check for check in checks if domain_of(check) == name]
        items = [f"- {link(check.id)}: {marked_up(title_of(check))}" for check in own]
        yield f"{name}.md", page(DOMAINS.get(name, name), "", items, [check.id for check in own])
    for check in checks:
        yield f"{check.id}.md", check_page(check)


def page(title: str, before: str, rows: list[str], below: list[str]) -> str:
    """A list, and the pages below it in the side bar."""
    tree = ["```{toctree}", ":hidden:", ":titlesonly:", "", *(f"{name} <{name}>" for name in below), "```"]
    return "\n".join([f"# {title}", "", before, "", *rows, "", *tree, ""])


def check_page(check: Check) -> str:
    """One page: title with the id, what users see, what the docstring says, and what it has to do with others."""
    said = [message for symptom in check.symptoms for message in spoken(symptom)]
    title = title_of(check)
    # Search engines show this sentence below the title.
    lines = ["---", "myst:", "  html_meta:", f"    description: {quoted(title)}", "---"]
    lines += ["", f"# {check.id}: {marked_up(title.rstrip('.'))}", ""]
    if said:
        lines += ["```{eval-rst}", ".. index::", *index_entries(check), "```", ""]
        lines += ["Messages that users see (N is a number, X a word, … anything):", ""]
        lines += [*block(said), ""]
    else:
        lines += [f"No message points to it: {marked_up(check.no_symptom)}.", ""]
    for part in parts(check):
        lines += [f"## {part.heading}", ""] if part.heading in HEADINGS else []
        lines += [marked_up(part.text), ""]
    lines += ["## Severity", "", check.severity.name.lower(), ""]
    lines += related("Explained by", check.after)
    lines += related("Explains", [other.id for other in registry.checks.values() if check.id in other.after])
    lines += ["## Fixes", ""]
    fixes = [f"- `{id}`: {marked_up(' '.join(registry.fixes[id].title.split()))}" for id in fixes_for(check.id)]
    lines += fixes or ["None that a machine could carry out."]
    if said:
        lines += ["", "## Patterns", "", "What `gpudoctor explain` and `gpudoctor triage` look for:", ""]
        lines += block(patterns(check))
    return "\n".join([*lines, ""])


def block(rows: Iterable[str]) -> list[str]:
    return ["````text", *dict.fromkeys(rows), "````"]


def index_entries(check: Check) -> Iterator[str]:
    """The messages for the index. The search of the site begins with the pages whose main entry is what was asked."""
    for symptom in check.symptoms:
        main = "" if symptom.tells is Tells.HINT or symptom.beside else "! "  # of this fault alone, or not
        for message in spoken(symptom):
            yield f"   {main}single: {message.replace(';', ',')}"  # a semicolon would cut it


def related(heading: str, ids: "tuple[str, ...] | list[str]") -> list[str]:
    rows = [f"- {link(id)}: {marked_up(title_of(registry.checks[id]))}" for id in ids if id in registry.checks]
    return [f"## {heading}", "", *rows, ""] if rows else []


def report_fields(schema: Mapping[str, Any]) -> str:
    """A table for the report and one for each kind of object in it, from its JSON Schema."""
    lines = ["### The report", "", *field_rows(schema)]
    for name, below in schema["$defs"].items():
        lines += ["", f"### {name}", "", marked_up(below.get("description", "")), ""]
        lines += field_rows(below) if "properties" in below else [f"One of: {words_of(below)}."]
    return "\n".join([*lines, ""])


def field_rows(described: Mapping[str, Any]) -> Iterator[str]:
    """One row for each field; those of objects that have no name of their own follow as `outer.inner`."""
    yield from ("| field | always there | type | what it is |", "| --- | --- | --- | --- |")
    yield from _rows(described, "")


def _rows(described: Mapping[str, Any], before: str) -> Iterator[str]:
    for name, field in described["properties"].items():
        always = "yes" if name in described.get("required", ()) else ""
        told = marked_up(field.get("description", ""))
        yield f"| `{before}{name}` | {always} | {words_of(field)} | {told} |"
        inner = field.get("items", field)
        if "properties" in inner:
            yield from _rows(inner, f"{before}{name}{'[]' if 'items' in field else ''}.")


def words_of(field: Mapping[str, Any]) -> str:
    """ "array of [finding](#finding)", "string or null", "`ok`, `info`"."""
    match field:
        case {"$ref": str(target)}:
            name = target.rpartition("/")[2]
            return f"[{name}](#{name})"
        case {"enum": [*values]}:
            return ", ".join(f"`{value}`" for value in values)
        case {"const": value}:
            return f"`{value}`"
        case {"type": "array", "items": {"$ref": str()} | {"type": str()} as items}:
            return f"array of {words_of(items)}"
        case {"type": [*kinds]}:
            return " or ".join(map(str, kinds))
        case {"anyOf": [*kinds]} | {"oneOf": [*kinds]}:
            return " or ".join(map(words_of, kinds))
    return str(field["type"])


def domain_of(check: Check) -> str:
    return check.id.partition(".")[0]


def title_of(check: Check) -> str:
    return " ".join(check.title.split())


def link(id: str) -> str:
    return f"[{id}]({id}.md)"


def quoted(words: str) -> str:
    """As a string of YAML."""
    return '"' + words.replace("\\", "\\\\").replace('"', '\\"') + '"'


def marked_up(words: str) -> str:
    """Plain words as Markdown that shows them: code and addresses stay what they are, all else stands for itself."""
    done = []
    for piece in _TAKEN_AS_IT_IS.split(words):
        if piece and piece.startswith("`") and piece.endswith("`") and len(piece) > 2:
            done.append(piece)
        elif piece and piece.startswith(("http://", "https://")):
            done.append(f"<{piece}>")
        elif piece:
            done.append(_MARKS.sub(r"\\\1", piece))
    return "".join(done)
