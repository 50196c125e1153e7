"""The characters of a pasted line made plain: escapes, entities, tags, and the many spaces, quotes and hyphens."""

import json
import re
import unicodedata
from collections.abc import Iterator

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_OVERSTRUCK = re.compile(r"[^\n\x08]\x08")
# Colours of which the escape character was written out, or lost on the way.
_WRITTEN_ESCAPES = re.compile(
    r"(?:\^\[|\\x1[bB]|\\u001[bB]|\\033|\\e|\u241b)\[[0-9;]*[A-Za-z]|\[\d{1,3}(?:;\d{1,3}){0,5}m"
)
_TAGS = re.compile(
    r"</?(?:pre|code|span|b|i|u|em|strong|tt|kbd|samp|font|small|details|summary|a|table|tbody|td|th|ul|ol|mark|blockquote)"
    r"(?: [^<>]{0,300})?>",
    re.IGNORECASE,
)
_BREAKING_TAGS = re.compile(r"<(?:br|hr|/?p|/?div|/?li|/?tr)(?: [^<>]{0,300})?/?>", re.IGNORECASE)
_FORUM_TAGS = re.compile(r"\[/?(?:code|quote|color|b|i|u|size|spoiler|font|icode)(?:=[^\[\]]{0,60})?\]", re.IGNORECASE)
_MARKED_UP = re.compile(r"\\([_*#<>\[\]`~|])")
# Line ends that loggers write out: rsyslog's "#012", and "\n" in JSON and in shells' quoting.
_WRITTEN_LINE_END = re.compile(r"#012|\\012|\\r\\n|(?<![\\:A-Za-z])\\n|(?<=[a-z.,;)])\\n(?=[A-Z\s])")
_EVERY_LINE_END = re.compile(r"#012|\\012|(?:\\r)?\\n")
# What programs begin a line with; one line with several of them has lost its line ends.
_BEGINNINGS = re.compile(
    r"(?=(?:PyTorch version|Is debug build|(?:CUDA|ROCM) used to build PyTorch|O[Ss]|(?:GCC|Clang|CMake|Libc) version"
    r"|Python version|Python platform|Is CUDA available|CUDA runtime version|GPU models and configuration"
    r"|Nvidia driver version|cuDNN version|Is XNNPACK available|GPU \d{1,2}): "
    r"|Versions of relevant libraries:|\[(?:pip3?|conda)\] |NVRM: "
    r"|(?<![a-zA-Z])(?:ii|rc|iU|iF|iH|hi) {1,4}[a-z0-9][a-z0-9.+-]{1,60}(?::[a-z0-9]{2,6})? {1,60}\d)"
)
_SHORTEST = 100  # characters of a line that may hold several
_STRING = re.compile(r'^\s*(?:- )?"((?:[^"\\]|\\.)+)",?\s*$')  # a line of a list in JSON or YAML
_JOB_AND_STEP = re.compile(r"^[^\t]{1,120}\t[^\t]{1,120}\t(?=\d{4}-)")  # as GitHub's client puts them before a log
_MISREAD = re.compile("\u00e2\u20ac(.)")  # quotation marks and dashes in UTF-8, read as Windows's characters
_MEANT = {
    "\u0153": '"',
    "\x9d": '"',
    "\ufffd": '"',
    "\u2122": "'",
    "\u02dc": "'",
    "\u201c": "-",
    "\u201d": "--",
    "\u00a6": "...",
}
# 'time="2026-11-25T20:01:02Z" level=error msg="..."', of Docker and containerd.
_FIELDS = re.compile(r'^(?:\w{1,20}=(?:"[^"]{0,60}"|\S{1,60}) ){1,8}msg="((?:[^"\\]|\\.)*)"')
_FOLDER = re.compile(
    r"[A-Za-z]:\\[A-Za-z]|\\[A-Za-z][\w.]*\\[A-Za-z]"
)  # "C:\new": what looks like a line end is a part of a path
_CODED = re.compile(r"\\u([0-9a-fA-F]{4})")
_SPELLED = str.maketrans(
    {
        **dict.fromkeys("\u201c\u201d\u201e\u201f\u00ab\u00bb\u2033", '"'),
        **dict.fromkeys("\u2018\u2019\u201a\u201b\u00b4\u2032", "'"),
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2212", "-"),
        "\u2014": "--",
        "\u00b7": ".",
        "\t": " ",
        # What Chinese and Japanese write without a space behind it.
        **{"\uff1a": ": ", "\uff0c": ", ", "\uff1b": "; ", "\u3002": ". "},
    }
)
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff\ufe0e\ufe0f]")
# Fields of log records in which the message of a program stands.
_MESSAGES = ("log", "msg", "message", "stderr", "stdout", "stderr_lines", "stdout_lines", "output", "exception", "text")
_DEEPEST = 6
_DECODER = json.JSONDecoder()


def without_escapes(text: str) -> str:
    """Without what moves a terminal's cursor or sets its colours, and without NULs."""
    text = _ESCAPES.sub("", text).replace("\0", "")
    if "\x08" in text:
        text = _OVERSTRUCK.sub("", text)
    # Windows writes "\r\r\n" where a line end is turned into one twice.
    return re.sub(r"\r+\n", "\n", text) if "\r" in text else text


def plain_pieces(line: str) -> list[str]:
    """The lines that a pasted one holds, mostly itself alone, in plain characters; columns are kept."""
    if "\t" in line:
        line = _JOB_AND_STEP.sub("", line)
    if not line.isascii():
        line = plain_characters(line)
    elif "\t" in line:
        line = line.replace("\t", " ")
    if "[" in line:
        line = _FORUM_TAGS.sub("", _WRITTEN_ESCAPES.sub("", line))
    if 'msg="' in line:
        line = _FIELDS.sub(lambda record: record[1], line)
    pieces = [line]
    if "<" in line and ">" in line:
        pieces = [_TAGS.sub("", piece) for piece in _BREAKING_TAGS.split(line)]
    if "&" in line:
        pieces = [one for piece in pieces for one in _unescaped(piece).splitlines() or [""]]
    if "%0A" in line or "%0a" in line or line.count("%20") > 4:
        from urllib.parse import unquote  # few texts need it

        pieces = [one for piece in pieces for one in unquote(piece).splitlines() or [""]]
    if '"' in line and line.lstrip().startswith(('"', "- ")):
        pieces = [found[1] if (found := _STRING.match(piece)) else piece for piece in pieces]
    if '"' in line and ("{" in line or "[" in line):
        pieces = [one for piece in pieces for one in _of_record(piece)]
    if "\\" in line or "#012" in line:
        pieces = [one for piece in pieces for one in _written_out(piece)]
    return [one for piece in pieces for one in (_BEGINNINGS.split(piece) if len(piece) > _SHORTEST else [piece])]


def plain_characters(line: str) -> str:
    """Widths, ligatures and bold letters are other spellings of the same letters; box characters stay."""
    line = _MISREAD.sub(lambda mark: _MEANT.get(mark[1], mark[0]), line)
    line = _INVISIBLE.sub("", line.translate(_SPELLED))
    return line if line.isascii() else unicodedata.normalize("NFKC", line).translate(_SPELLED)


def _unescaped(line: str) -> str:
    import html  # its table of names takes longer to load than most texts to read

    line = html.unescape(line)
    if "&" in line:  # pages that quote pages escape twice
        line = html.unescape(line)
    return line if line.isascii() else plain_characters(line)


def _written_out(line: str) -> Iterator[str]:
    if "\\\\n" in line or '\\\\"' in line:  # a string in a string
        line = line.replace("\\\\", "\\")
    ends = _WRITTEN_LINE_END if line.count("\\n") < 3 or _FOLDER.search(line) else _EVERY_LINE_END
    for piece in ends.split(line):
        plain = piece.replace('\\"', '"').replace("\\'", "'")
        if "\\u" in plain:
            plain = plain_characters(_CODED.sub(lambda code: chr(int(code[1], 16)), plain))
            plain = "".join(_ESCAPES.sub("", plain).splitlines())
        if "\\" in plain and not _FOLDER.search(plain):
            plain = _MARKED_UP.sub(r"\1", plain.replace("\\t", " "))
        yield plain.removesuffix("\\r")


def _of_record(line: str) -> Iterator[str]:
    """Of a record in JSON its messages, where it has such; else the line as it is."""
    value, at, end = None, 0, 0
    for mark in ("{", "[", '"'):
        at = line.find(mark)
        try:
            value, end = _DECODER.raw_decode(line, at) if at >= 0 else (None, 0)
        except (ValueError, RecursionError):
            continue
        if value is not None:
            break
    said = list(_messages(value, _DEEPEST))
    if not said:
        yield line
        return
    rest = line[:at] + line[end:]
    if rest.strip():
        yield rest
    for text in said:
        yield from without_escapes(text).splitlines()


def _messages(value: object, depth: int) -> Iterator[str]:
    if isinstance(value, dict) and depth:
        for name, inner in value.items():
            if name in _MESSAGES and isinstance(inner, str):
                yield inner
            elif name in _MESSAGES and isinstance(inner, list):
                yield from (one for one in inner if isinstance(one, str))
            elif isinstance(inner, dict | list):
                yield from _messages(inner, depth - 1)
    elif isinstance(value, list) and depth:
        for inner in value:
            if isinstance(inner, dict | list):
                yield from _messages(inner, depth - 1)
    elif isinstance(value, str) and "\n" in value:
        yield value
