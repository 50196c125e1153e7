"""`gpudoctor triage`: name the cause from what somebody pasted."""

import sys
import time

from gpudoctor.cli import BadUsage
from gpudoctor.cli.check import add_to_job_summary, deliver, monitors_told, wants_colour
from gpudoctor.exit_codes import ExitRule
from gpudoctor.host import BadSource
from gpudoctor.plain_files import read_named
from gpudoctor.registry import load_plugins
from gpudoctor.reports.formats import FORMATS, render
from gpudoctor.time_limit import limit
from gpudoctor.triage.judge import triage as judge

_MOST_BYTES = 64 * 1024 * 1024
_GZIP = b"\x1f\x8b"
# What people attach in place of a text.
_NO_TEXTS = {
    b"%PDF-": "a PDF",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"GIF8": "a picture",
    b"PK\x03\x04": "an archive or a document of an office program",
}
_TIME = 30.0  # seconds: what takes longer hangs


def triage(file: str | None, format: str, output: str | None) -> int:
    """Read the text, print or write the report. Returns the exit code, as of check. Raises BadUsage for no text."""
    with monitors_told(format, output):
        return _triage(file, format, output)


def _triage(file: str | None, format: str, output: str | None) -> int:
    text = _text(file)
    began = time.monotonic()
    with limit(_TIME):
        done = judge(text)
    duration_ms = round((time.monotonic() - began) * 1000)
    exits = ExitRule(exit_map=FORMATS[format].exit_map)
    name = "" if file in (None, "-") else file
    done = done._replace(report=done.report._replace(exits=exits, text_file=name or ""))
    match format:
        case "text":
            from gpudoctor.reports.triage import as_text

            answer = as_text(done, duration_ms, colour=output is None and wants_colour())
        case "json":
            from gpudoctor.reports.triage import as_json

            load_plugins(fixes=True)  # the report names the fixes of each finding
            answer = as_json(done, duration_ms)
        case _:
            answer = render(format, "triage", done.report, done.facts, duration_ms)
    deliver(answer, output)
    if format == "github":
        add_to_job_summary("triage", done.report, done.facts, duration_ms)
    return done.report.exit_code


def _text(file: str | None) -> str:
    name = "standard input" if file in (None, "-") else file
    if file in (None, "-") and sys.stdin is not None and sys.stdin.isatty():
        print("Paste the text here; Ctrl-D on a line of its own ends it.", file=sys.stderr)
    try:
        data = read_named(file or "-", _MOST_BYTES + 1, standard_input=True)
    except BadSource as reason:
        if "://" in str(name):
            raise BadUsage(
                f"{name}: nothing is fetched from anywhere; save the text to a file, or paste it"
            ) from reason
        raise
    if data.startswith(_GZIP):  # nvidia-bug-report.log.gz
        from gpudoctor.facts.apt_history import unpack  # here for start-up

        data = unpack(data, _MOST_BYTES + 1).encode("utf-8", "surrogateescape")
    if len(data) > _MOST_BYTES:
        raise BadUsage(
            f"{name}: longer than {_MOST_BYTES >> 20} MiB; paste the part in question, as `tail -n 20000` gives it"
        )
    kind = next((words for start, words in _NO_TEXTS.items() if data.startswith(start)), "")
    if kind:
        raise BadUsage(f"{name}: this is {kind}, and only texts are read: copy the text out of it, or type the message")
    encoding = _encoding(data)
    text = data.decode(encoding, "replace")
    if not text.strip():
        raise BadUsage(f"{name}: there is no text in it")
    head = text[:4096]
    if sum(map(_is_strange, head)) > len(head) // 3:
        raise BadUsage(f"{name}: this is no text")
    if text.lstrip().startswith("{") and '"answers"' in text and '"schema"' in text:
        raise BadUsage(f"{name}: this is a snapshot: `gpudoctor check --snapshot {file}` reads it")
    if encoding == "utf-8-sig" and "\ufffd" in text and text.replace("\ufffd", "").isascii():
        return data.decode("cp1252", "replace")  # of an older Windows or Linux: accents are a byte each
    return text


def _encoding(data: bytes) -> str:
    """PowerShell writes its redirections in UTF-16; what cuts files into pieces loses the mark at its beginning."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    head = data[:2048]
    if len(head) > 3 and 0 not in head[::2] and head[1::2].count(0) > 0.4 * len(head):
        return "utf-16-le"
    if len(head) > 3 and 0 not in head[1::2] and head[::2].count(0) > 0.4 * len(head):
        return "utf-16-be"
    return "utf-8-sig"


def _is_strange(character: str) -> bool:
    """No character of a text, or one that could not be decoded."""
    return character == "\ufffd" or not (character.isprintable() or character.isspace() or character == "\x1b")
