"""The commands that README and documentation show: where they stand, what may be run, and a place to run them in."""

import re
import shlex
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import typer.main
from command_line import Called

from gpudoctor.cli.app import app_for

TREE = Path(__file__).parents[1]
MACHINES = Path(__file__).parent / "machines"

# What is not run, by how it begins, and why. Every gpudoctor in it must still be called rightly.
NOT_RUN = {
    r"sudo ": "changes this machine",
    r"gpudoctor fix$": "changes this machine after a yes",
    r"gpudoctor fix --undo$": "changes this machine",
    r"gpudoctor check --root /mnt$": "takes a disk that is mounted there",
    r"gpudoctor fix --plan ": "changes this machine after a yes",
    r"apt-get ": "takes apt, which other distributions do not have",
    r"make test": "is what runs this test",
    r"make (check|docs)$|python3 -m venv|(\S*/)?pip install": "installs: tests of the plugin and of the site do that",
    r"\.venv/bin/": "takes the environment of the line before",
    r"docker |kubectl ": "takes a container engine with a GPU",
    r".*\bscontrol ": "takes Slurm",
}
# What takes more than an instant, or a shell.
SLOW = (
    r"gpudoctor bench(?! plan)",
    r"gpudoctor preflight(?!.*--simulation)",
    r"gpudoctor .*--deep",
    r"gpudoctor (snapshot|diff \S+$)",
    r"(?!gpudoctor )",
    r".*[|<>]",
    r"gpudoctor .*\bscratch\b",  # the example of a plugin has to be there
)
# Commands that judge this machine where no file or option names another: what they say depends on it.
LIVE = ("check", "fix", "snapshot", "recommend", "diff", "preflight", "bench", "hook")
# With these another machine is judged, and a plain answer is due.
ELSEWHERE = ("--snapshot", "--simulation", "--driver")


class Shown(NamedTuple):
    """One command. `output` is what the block shows below it, "" for nothing."""

    command: str
    place: str  # "README.md:27"
    output: str = ""

    @property
    def words(self) -> list[str]:
        return shlex.split(self.command, comments=True)

    @property
    def why_not_run(self) -> str:
        return next((why for begin, why in NOT_RUN.items() if re.match(begin, self.plain)), "")

    @property
    def slow(self) -> bool:
        return any(re.match(begin, self.plain) for begin in SLOW)

    @property
    def plain(self) -> str:
        """Without its comment."""
        return re.sub(r"\s+#\s.*", "", self.command)

    @property
    def live(self) -> bool:
        words = self.words
        two_files = words[1] == "diff" and len([word for word in words[2:] if not word.startswith("-")]) == 2
        return words[1] in LIVE and not two_files and not {*ELSEWHERE} & {*words}


def documents() -> list[Path]:
    return [TREE / "README.md", *sorted((TREE / "docs").glob("*.md"))]


def shown_in(document: Path) -> Iterator[Shown]:
    """The commands of all blocks of a shell, in their order."""
    text = document.read_text(encoding="utf-8")
    for block in re.finditer(r"^```(sh|console)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        line = text.count("\n", 0, block.start(2)) + 1
        place = f"{document.relative_to(TREE)}:{line}"
        if block[1] == "sh":
            yield from (Shown(one, place) for one in block[2].replace("\\\n", " ").splitlines() if one.strip())
        else:
            for one in re.split(r"^\$ ", block[2], flags=re.MULTILINE)[1:]:
                command, _, output = one.partition("\n")
                yield Shown(command, place, output)


def named_in(document: Path) -> Iterator[Shown]:
    """The command lines within sentences and tables: `gpudoctor explain`."""
    text = re.sub(
        r"^```.*?^```$", lambda block: "\n" * block[0].count("\n"), document.read_text("utf-8"), flags=re.M | re.S
    )
    for found in re.finditer(r"`(gpudoctor(?: [^`]+))`", text):
        command = " ".join(found[1].replace(r"\|", "|").split())
        yield Shown(command, f"{document.relative_to(TREE)}:{text.count(chr(10), 0, found.start()) + 1}")


def distinct(document: Path) -> Iterator[Shown]:
    """The commands of a document, but for those that an earlier one has shown without more below them."""
    seen: set[str] = set()
    for earlier in documents():
        for one in shown_in(earlier):
            if one.plain in seen and not one.output:
                continue
            seen.add(one.plain)
            if earlier == document:
                yield one


def calls_of(command: str) -> Iterator[list[str]]:
    """The arguments of each gpudoctor in a line of a shell."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars="|&;<>()")
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*lexer, ";"]:
        if word and not word.strip("|&;<>()"):
            starts = [place for place, one in enumerate(words) if one.rpartition("/")[2] == "gpudoctor"]
            if starts:
                yield words[starts[0] + 1 :]
            words = []
        else:
            words.append(word)


def require_accepted(arguments: Sequence[str]) -> None:
    """Raises typer's error for a command line that it does not take. Nothing is run."""
    command: Any = typer.main.get_command(app_for())
    name, parent, rest = "gpudoctor", None, [*arguments]
    while True:
        context = command.make_context(name, rest, parent=parent)
        below = [*context._protected_args, *context.args]
        if not hasattr(command, "commands") or not below:
            return
        name, command, rest = command.resolve_command(context, below)
        parent = context


def prepare(folder: Path) -> None:
    """The files that the commands name, in the folder in which they are run."""
    folder.chmod(0o700)
    (folder / "tests").mkdir()
    (folder / "tests/machines").symlink_to(MACHINES)
    for name, machine in (("before", "kernel-upgraded-no-headers"), ("after", "repaired"), ("machine", "healthy")):
        shutil.copy(MACHINES / f"bookworm-{machine}.json", folder / f"{name}.json")
    (folder / "upgrade.txt").write_text(
        "Inst libc6 [2.36-9+deb12u8] (2.36-9+deb12u9 Debian:12.8/stable [amd64])\n"
        "Conf libc6 (2.36-9+deb12u9 Debian:12.8/stable [amd64])\n"
    )
    (folder / "report.txt").write_text(
        "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 580.95\n"
    )


def complaint(one: Shown, done: Called) -> str:
    """What is wrong with how a command ended, "" if nothing is."""
    output = one.words[one.words.index("--output") + 1] if "--output" in one.words else ""
    if done.err.startswith(("Usage:", "gpudoctor: cannot", "gpudoctor: there is no")) or "Traceback" in done.err:
        return done.err
    allowed = (0,) if one.words[0] != "gpudoctor" else (0, 1, 2, 3, 75) if one.live else (0, 1, 2)
    if done.code not in allowed or (done.code == 3 and done.err.startswith("gpudoctor: ")):
        return f"ended with {done.code}: {done.err}{done.out}"
    if output and not Path(output).exists():
        return f"{output} was not written"
    return "" if not one.output or shows(one.output, done.out) else f"it prints\n{done.out}"


def shows(shown: str, printed: str) -> bool:
    """Is this what was printed? "..." on a line stands for any lines; blanks and durations may differ."""
    pieces = [re.escape(timeless(piece)) for piece in re.split(r"^ *\.\.\.$", shown, flags=re.MULTILINE)]
    return re.fullmatch(".*".join(pieces), timeless(printed)) is not None


def timeless(text: str) -> str:
    return re.sub(r"\(\d+ ms,", "(N ms,", " ".join(text.split()))
