"""What loggers, terminals and editors put before each line: stamps, ranks, names of containers, line numbers."""

import itertools
import re
from collections import Counter
from collections.abc import Sequence

_MONTH = r"[A-Z][^\W\d_]{2,4}\.?"  # in any language
_DAYS = r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_HOST = r"\S{1,64} (?:kernel: |(?=[\w./@()-]{1,64}\[\d+\]: ))"
_CLOCK = r"\d\d:\d\d:\d\d(?:[.,]\d{1,9})?"
_LEVEL = r"(?:TRACE|DEBUG|DEBG|INFO|NOTICE|WARN|WARNING|ERROR|ERR|CRITICAL|FATAL)"
# Each of them can be nothing else, whatever follows.
_STAMPS = re.compile(
    r"(?:"
    r"\[ *\d+\.\d+\] *(?:\[ *[TC]\d+\] *)?"  # the kernel's
    rf"|\[?(?:{_DAYS} )?\d{{4}}[-/]\d\d[-/]\d\d[T ]{_CLOCK}(?: ?(?:Z|UTC|CES?T|[+-]\d\d:?\d\d))?\]?[ :]+"
    rf"(?:(?:stdout|stderr) [FP] |\d\d[OE][ +]|{_HOST}|\S{{1,64}} \S{{1,64}} (?:\d+|-) (?:\S{{1,64}}|-) - )?"
    rf"|\[{_DAYS} \w{{3}} +\d{{1,2}} {_CLOCK} \d{{4}}\] *"  # dmesg -T
    rf"|{_MONTH} +\d{{1,2}} {_CLOCK} (?:{_HOST})?"
    rf"|\d\d/\d\d/\d{{4}} {_CLOCK}(?: [AP]M)? "
    rf"|\[?{_CLOCK}\]? +"
    rf"|{_LEVEL} \d\d-\d\d {_CLOCK} \[?[\w./]{{1,60}}:\d+\]? "  # vLLM's
    rf"|[IWEF]\d{{4}} {_CLOCK} +\d+ \S{{1,80}}:\d+\] "  # glog's
    r"|\[(?:rank|default)?\d{1,4}\]: ?"
    r"|\[\d+,\d+\]<std(?:out|err)>: ?"
    r"|\(\w[^()]{0,60}\bpid=\d+[^()]{0,60}\) "
    r"|\[pod/[^\s\]]{1,200}\] "
    r"|##\[\w{1,20}\]"
    r"|::(?:error|warning|notice)(?: [^:]{0,300})?::"
    r"|#\d{1,4} \d+\.\d+ "  # BuildKit's
    r"|<\d{1,3}>(?:1 )?"
    r"|\d{1,3},\d+,\d+,[-\w]*;"  # /dev/kmsg's
    r"|(?:kern|user|daemon|syslog) *:\w+ *: "
    r"|srun: error: |E {3,}(?=\S)"  # Slurm's, pytest's
    r")+"
)
# What follows a stamp: "- root - ERROR - ", "| ERROR    | __main__:main:12 - ", ": E tensorflow/core/x.cc:271] ".
_LEVELS = re.compile(
    rf"[-|: ]*(?:[\w.<>-]{{1,40}} - )?\[?{_LEVEL}\b\]?(?: *[-|:])* *"
    r"(?:\[?[\w.<>]{1,60}(?::[\w<>]{1,40}){1,2}\]? (?:- )?)?"
    r"|[-|: ]*[IWEF] [\w./]{1,120}:\d+\] "
)
_NUMBERED = re.compile(r"^ *L?(\d{1,6})(?:[:.)]| ?[|\u2502]|(?= {2}))  ?| *L?(\d{1,6}) {2,}")
# A name and a mark; what a program says of itself, of a GPU or of a package begins so as well.
_NAMED = re.compile(
    r" *[-*+#$]+(?: |(?=\S))|// ?"
    r"|[^\s:|>{}\"]{1,60}(?: [^\s:|>{}\"=]{1,60}){0,2}?(?: ?[:>]| *\|)(?: |$)"
    r"|[a-z0-9-]{1,200}-[a-z0-9]{5} [a-z0-9-]{1,60} "  # of a pod and its container
    r"|\S{1,200}?:\d{1,7}[:-]|\S{1,200}?\.(?:log|txt|out|err)[.\d]{0,4}:"
)
_SPEAKER = re.compile(r"(?!nvidia)[\w./@()-]{1,64}\[\d+\]: ")
_OWN_WORDS = re.compile(
    r"gpu(?!\d\d|-)|device|nvrm|nvidia|cuda|nvml|torch|xid|card|dpkg|apt|depends|recommends|err|warn|note|[ewni]:|fatal|import"
    r"|exception|pip|conda|collect|version|os:|python|driver|found|traceback|module|failed|could|cannot",
    re.IGNORECASE,
)
_DIGIT = re.compile(r"\d")
_FEWEST = 3  # lines: what fewer have in common may be chance
_MOST_LOOKED_AT = 400
_ROUNDS = 3


def without_prefixes(lines: Sequence[str]) -> list[str]:
    """Each line without what was put before it; columns are kept."""
    plain = [without_stamps(line) for line in lines]
    for _ in range(_ROUNDS):
        cut = _without_common(plain)
        if cut is None:
            break
        plain = [without_stamps(line) for line in cut]
    return plain


def without_stamps(line: str) -> str:
    """The line without what can be nothing but a stamp."""
    text = line.lstrip()
    found = _STAMPS.match(text)
    if found is None:
        return line
    text = text[found.end() :]
    told = _LEVELS.match(text)
    return without_stamps(text[told.end() :]) if told else text


def _without_common(lines: Sequence[str]) -> list[str] | None:
    """Without numbers that count the lines, or the name that stands before nearly all of them; None without such."""
    looked_at = [line for line in lines[:_MOST_LOOKED_AT] if line.strip()]
    if len(looked_at) < _FEWEST:
        return None
    numbers = [_NUMBERED.match(line) for line in looked_at]
    counted = [int(found[1] or found[2]) for found in numbers if found]
    if len(counted) > 0.8 * len(looked_at) and all(a < b <= a + 3 for a, b in itertools.pairwise(counted)):
        return [line[found.end() :] if (found := _NUMBERED.match(line)) else line for line in lines]
    shapes = Counter(shape for line in looked_at if (shape := _shape(line)))
    if not shapes:
        return None
    shape, count = shapes.most_common(1)[0]
    if count < 0.8 * len(looked_at) or count < _FEWEST:
        return None
    return [line[len(shape) :] if _shape(line) == shape else line for line in lines]


def _shape(line: str) -> str:
    """The name before a line, with "0" for each digit; "" without such a name."""
    found = _SPEAKER.match(line) or _NAMED.match(line)
    if found is None or (found.re is _NAMED and _OWN_WORDS.search(found[0])):
        return ""
    return _DIGIT.sub("0", found[0])
