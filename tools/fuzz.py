"""Feeds damaged texts to what reads the outside world, for as long as it is told, and shows what breaks it.

    pip install -e '.[test]'            python tools/fuzz.py parsers --minutes 10
    pip install -e '.[test]' atheris    python tools/fuzz.py paste --minutes 10

`parsers`: hypothesis changes real files (those of tests/machines, and real outputs) for every parser in turn; only the
errors that a parser declares may come out of it. `paste`: atheris, led by the code that is reached, for the reader of
pasted texts from end to end. What is found is printed with the text that did it: it becomes a test.

Exit codes: 0 nothing found; 1 something was found; 3 it could not run.
"""

import argparse
import glob
import importlib
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SLOW = 5.0  # seconds for one text: whatever takes longer hangs
MOST = 20_000  # characters of a text
WHOLE = 10  # of so many pasted texts one goes through all checks and reports, which takes most of the time


class Parser(NamedTuple):
    """One function of the package; `errors` are those that it declares."""

    module: str
    function: str
    arguments: tuple[object, ...] = ()  # behind the text
    errors: tuple[str, ...] = ()  # "module:Name"
    data: bool = False  # it takes bytes

    def __str__(self) -> str:
        return f"{self.module}.{self.function}"


PARSERS = (
    Parser("facts.nvidia_smi", "read_nvidia_smi", (0,), ("host:Unavailable",)),
    Parser("facts.dpkg", "read_status"),
    Parser("facts.package_log", "read_log", ("term.log",)),
    Parser("facts.apt_history", "read_runs", ("history.log",)),
    Parser("facts.apt_history", "read_dpkg_log", ("dpkg.log",)),
    Parser("facts.pacman_history", "read_log", ("pacman.log",)),
    Parser("facts.zypper_history", "read_history", ("history",)),
    Parser("facts.pacman", "read_description", ("nvidia-utils-580.95.05-1",)),
    Parser("facts.rpm", "read_answer"),
    Parser("facts.rpm", "read_header", data=True),
    Parser("facts.record", "parse_record"),
    Parser("facts.environment", "read_settings", ("/etc/environment",)),
    Parser("facts.bench", "read_record", ("/var/lib/gpudoctor/bench.json",), ("host:Unavailable",)),
    Parser("facts.cdi", "read_specification", errors=("host:Unavailable",)),
    Parser("facts.runfile_head", "read_head", data=True),
    Parser("preflight.simulation", "read_simulation", ("a text",), ("preflight.transaction:NoTransaction",)),
    Parser("preflight.apt_hook", "parse_pre_install_pkgs", errors=("preflight.transaction:NoTransaction",)),
    Parser("python.pep440", "parse_version"),
    Parser("python.pep508", "parse_requirement"),
    Parser("triage.judge", "triage"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("what", choices=("parsers", "paste"))
    options.add_argument("--minutes", type=float, default=10.0)
    options.add_argument("--only", metavar="NAME", help="of the parsers, those whose name has this in it")
    chosen = options.parse_args(arguments)
    if chosen.what == "paste":
        return fuzz_paste(chosen.minutes)
    parsers = [parser for parser in PARSERS if not chosen.only or chosen.only in str(parser)]
    return fuzz_parsers(parsers, chosen.minutes)


def seeds() -> list[str]:
    """Real texts: what the recorded machines' files and commands say, and texts that people pasted."""
    found = []
    for path in sorted(glob.glob(os.path.join(ROOT, "tests", "machines", "*.json"))):
        with open(path, encoding="utf-8") as file:
            answers = json.load(file)["answers"]
        for answer in answers.values():
            text = answer.get("stdout") if isinstance(answer, dict) else answer
            if isinstance(text, str) and "\n" in text:
                found.append(text[:MOST])
    with open(os.path.join(ROOT, "tests", "triage", "pastes.json"), encoding="utf-8") as file:
        found += [paste["text"][:MOST] for paste in json.load(file)["pastes"]]
    return list(dict.fromkeys(found))


def fuzz_parsers(parsers: Sequence[Parser], minutes: float) -> int:
    """Each parser gets its share of the time. Prints what breaks one, with the text."""
    try:
        from hypothesis import HealthCheck, find, settings
        from hypothesis.errors import NoSuchExample
    except ModuleNotFoundError:
        print("hypothesis is not installed: pip install -e '.[test]'", file=sys.stderr)
        return 3
    texts, broken, tried = damaged_texts(seeds()), 0, 0
    for parser in parsers:
        ends = time.monotonic() + minutes * 60 / len(parsers)
        count = 0

        def breaks(text: str, parser: Parser = parser) -> bool:
            nonlocal count
            count += 1
            return failure_of(parser, text) != ""

        while time.monotonic() < ends:
            rules = settings(max_examples=200, database=None, deadline=None, suppress_health_check=list(HealthCheck))
            try:
                text = find(texts, breaks, settings=rules)
            except NoSuchExample:
                continue
            broken += 1
            print(f"{parser}: {failure_of(parser, text)}\n  with {text!r}")
            break
        tried += count
        print(f"{parser}: {count} texts", flush=True)
    print(f"{tried} texts, {broken} of {len(parsers)} parsers broken")
    return 1 if broken else 0


def damaged_texts(real: Sequence[str]) -> "SearchStrategy[str]":
    """Real texts, cut, spliced, with lines taken out and characters changed; and arbitrary ones."""
    from hypothesis import strategies as st

    pieces = st.sampled_from(
        ["\0", "\x1b[", "\ud800", "\u202e", "9" * 400, "-1", "", "\r", "::", "|", "%s", "nan", "é"]
    )

    @st.composite
    def changed(draw: Callable[..., object]) -> str:
        text = str(draw(st.sampled_from(real)))
        for _ in range(int(str(draw(st.integers(1, 6))))):
            at = int(str(draw(st.integers(0, max(0, len(text) - 1)))))
            length = int(str(draw(st.sampled_from([0, 1, 1, 3, 20, 200, 5000]))))
            kind = draw(st.sampled_from(["cut", "piece", "text", "other", "twice"]))
            if kind == "cut":
                text = text[:at] + text[at + length :]
            elif kind == "piece":
                text = text[:at] + str(draw(pieces)) + text[at + length :]
            elif kind == "text":
                text = text[:at] + str(draw(st.text(max_size=20))) + text[at + length :]
            elif kind == "other":
                text = text[:at] + str(draw(st.sampled_from(real)))[:length] + text[at:]
            else:
                text = text[:at] + text[at : at + length] * 3 + text[at:]
        return text[:MOST]

    return st.one_of(changed(), st.text(max_size=500))


def failure_of(parser: Parser, text: str) -> str:
    """ "" where the parser takes the text, or refuses it with an error that it declares."""
    module = importlib.import_module(f"gpudoctor.{parser.module}")
    declared = tuple(
        getattr(importlib.import_module(f"gpudoctor.{name.partition(':')[0]}"), name.partition(":")[2])
        for name in parser.errors
    )
    given = text.encode("utf-8", "surrogatepass") if parser.data else text
    began = time.monotonic()
    try:
        getattr(module, parser.function)(given, *parser.arguments)
    except declared:
        return ""
    except Exception as error:  # noqa: BLE001 - that is what is looked for
        return f"{type(error).__name__}: {error}"
    taken = time.monotonic() - began
    return f"{taken:.1f} s" if taken > SLOW else ""


def fuzz_paste(minutes: float) -> int:
    """atheris ends the process itself: 0 when the time is over, another code with the text that broke the reader."""
    try:
        import atheris
    except ModuleNotFoundError:
        print("atheris is not installed: pip install atheris", file=sys.stderr)
        return 3
    with atheris.instrument_imports(include=["gpudoctor.triage", "gpudoctor.symptoms", "gpudoctor.facts.nvidia_smi"]):
        from gpudoctor.registry import load_plugins, registry
        from gpudoctor.reports.triage import as_json, as_text
        from gpudoctor.triage.judge import triage
        from gpudoctor.triage.partial_facts import facts_of
        from gpudoctor.triage.paste import read_paste
        from gpudoctor.triage.read import read_shown
        from gpudoctor.triage.sightings import sightings
    load_plugins(fixes=True)
    count = 0

    def one(data: bytes) -> None:
        nonlocal count
        count += 1
        text = data.decode("utf-8", "surrogateescape")
        paste = read_paste(text)
        facts_of(read_shown(paste))
        sightings(paste, registry.checks.values())
        if count % WHOLE:
            return
        done = triage(text)
        assert done.report.exit_code in (0, 1, 2, 3)
        json.loads(as_json(done, 1))
        assert as_text(done, 1, colour=False).endswith("\n")
        crashed = [outcome for outcome in done.report.outcomes if outcome.status.value == "crashed"]
        assert not crashed, crashed[0].reason

    corpus = tempfile.mkdtemp(prefix="gpudoctor-fuzz-")
    for number, text in enumerate(text for text in seeds() if len(text) < 4096):
        with open(os.path.join(corpus, f"{number:05}"), "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
    dictionary = os.path.join(corpus, "words.dict")
    write_dictionary(dictionary)
    limits = [f"-max_total_time={round(minutes * 60)}", "-timeout=5", "-max_len=4096", "-rss_limit_mb=3000"]
    atheris.Setup([sys.argv[0], *limits, f"-dict={dictionary}", corpus], one)
    atheris.Fuzz()
    return 0


def write_dictionary(path: str) -> None:
    """The words of all symptoms, as libFuzzer reads them."""
    from gpudoctor.registry import registry

    words = set()
    for check in registry.checks.values():
        for symptom in check.symptoms:
            words.update(re.findall(r"[A-Za-z0-9_ :'-]{4,40}", symptom))
    with open(path, "w", encoding="ascii") as file:
        for number, word in enumerate(sorted(words)):
            escaped = word.replace("\\", "\\\\").replace('"', '\\"')
            file.write(f'w{number}="{escaped}"\n')


if __name__ == "__main__":
    sys.exit(main())
