"""What became of a text, for a person and as JSON: the causes by certainty, and what would make it certain."""

from collections.abc import Iterator

from gpudoctor import __version__
from gpudoctor.facts.cuda_level import DriverCuda
from gpudoctor.facts.frameworks import FrameworkBuild, FrameworkBuilds
from gpudoctor.host import Unavailable
from gpudoctor.reports import json_report
from gpudoctor.reports.text import BOLD, CERTAINTY, DIM, STYLES, finding_lines, sentence, styled, wrapped
from gpudoctor.triage.judge import Triage

_MOST = 3  # causes that are shown in full


def as_json(done: Triage, duration_ms: int) -> str:
    """The report of schema 1, with `certainty` in each finding, and `next`: commands that would tell more."""
    document = json_report.document_of("triage", done.report, done.facts, duration_ms)
    document["cut"] = done.paste.cut
    document["lines"] = max((line.number for line in done.paste.lines), default=0)
    document["harmless"] = [one._asdict() for one in done.harmless]
    document["next"] = [question._asdict() for question in done.questions]
    return json_report.as_text(document)


def as_text(done: Triage, duration_ms: int, *, colour: bool) -> str:
    """At most 80 columns wherever the words allow it."""
    lines = [*_head(done, colour), ""]
    findings = done.report.findings
    for ranked in findings[:_MOST]:
        lines += [*finding_lines(ranked, colour, when=CERTAINTY[ranked.certainty]), ""]
    if findings[_MOST:]:
        less = ", ".join(ranked.check.id for ranked in findings[_MOST:])
        lines += [*wrapped(f"Less certain: {less}", "", hanging="  "), ""]
    for one in done.harmless:
        lines += wrapped(f"Harmless: line {one.line}: {one.words}: {one.meaning}.", "", hanging="  ")
    lines += [""] if done.harmless else []
    if done.questions:
        heading = "To be certain" if findings else "To find out more"
        lines.append(styled(f"{heading}, run on that machine and paste the answers, too:", BOLD if colour else ""))
        for question in done.questions:
            lines.append(f"  {question.command}")
            lines += wrapped(f"({question.why})", "    ", DIM if colour else "")
        lines += [*wrapped("or `gpudoctor check`, which reads all that by itself.", "  "), ""]
    return "\n".join([*lines, *_verdict(done, duration_ms, colour)]) + "\n"


def _head(done: Triage, colour: bool) -> Iterator[str]:
    count = max((line.number for line in done.paste.lines), default=0)
    read = f"{count} line{'' if count == 1 else 's'} read{', the middle left out' if done.paste.cut else ''}"
    system = done.shown.system
    where = " ".join(
        word for word in (system.container and f"{system.container} container", "WSL" * system.wsl) if word
    )
    words = [f"gpudoctor {__version__}", read, system.name, where, system.kernel and f"kernel {system.kernel}"]
    yield from wrapped(" · ".join(word for word in words if word), "", DIM if colour else "")
    driver, builds = done.facts.get_or_reason(DriverCuda), done.facts.get_or_reason(FrameworkBuilds)
    stated = done.shown.driver.version
    told = driver.words if isinstance(driver, DriverCuda) else f"driver {stated.value}" if stated else ""
    counted: dict[str, int] = {}
    for gpu in done.shown.gpus:
        counted[gpu.value] = counted.get(gpu.value, 0) + 1
    gpus = [f"{number} x {name}" if number > 1 else name for name, number in counted.items()]
    frameworks = [] if isinstance(builds, Unavailable) else [_build_words(build) for build in builds.builds]
    stated_words = ", ".join(word for word in (told, *gpus, *frameworks) if word)
    if stated_words:
        yield from wrapped(f"It states: {stated_words}", "", DIM if colour else "", hanging="  ")


def _build_words(build: FrameworkBuild) -> str:
    return f"{build.words} ({build.cuda_words})" if build.cuda else build.words


def _verdict(done: Triage, duration_ms: int, colour: bool) -> Iterator[str]:
    report = done.report
    if not report.findings:
        verdict = (
            sentence(report.untold)
            if report.untold
            else "Nothing in the text speaks for a fault of the GPU's software."
        )
    elif report.findings[0].certainty == "shown":
        verdict = (
            f"The cause: {report.findings[0].check.id}. `gpudoctor explain {report.findings[0].check.id}` tells more."
        )
    else:
        word = "Most likely" if report.findings[0].certainty == "likely" else "Possibly"
        verdict = (
            f"{word}: {report.findings[0].check.id}. `gpudoctor explain {report.findings[0].check.id}` tells more."
        )
    style = STYLES.get(report.status, "") if colour else ""
    yield from wrapped(f"{verdict} ({duration_ms} ms, exit code {report.exit_code})", "", style)
