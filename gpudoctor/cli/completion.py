"""Shell completion: typer's scripts for the shells, and what is completed beside the names of options.

Each press of the key is a run of gpudoctor that prints nothing but words, so that nothing can be explained here: where
there is nothing to offer, none is offered.
"""

import sys
from collections.abc import Iterator
from textwrap import shorten

from gpudoctor.registry import NoPlugins, load_plugins, registry

VARIABLE = "_GPUDOCTOR_COMPLETE"  # set by the scripts


def script(shell: str) -> str:
    """What the shell is to read: `source <(gpudoctor completion bash)`. `shell`: "bash", "zsh" or "fish"."""
    from typer._completion_shared import get_completion_script  # typer exports neither of the two

    return get_completion_script(prog_name="gpudoctor", complete_var=VARIABLE, shell=shell) + "\n"


def prepare() -> None:
    """Teach typer to answer the scripts."""
    from typer._completion_classes import completion_init

    completion_init()


def checks(incomplete: str) -> Iterator[tuple[str, str]]:
    """(id, title) of the checks that begin so."""
    try:
        load_plugins()
    except NoPlugins:
        return
    for check in sorted(registry.checks.values(), key=lambda check: check.id):
        if check.id.startswith(incomplete):
            # typer breaks longer texts into lines, which zsh would take for words.
            yield check.id, shorten(check.title, 76, placeholder="...").replace("'", _apostrophe())


def _apostrophe() -> str:
    """The one that zsh shows as well: as typer quotes the other, it is lost there. In a terminal that has it."""
    encoding = sys.stdout.encoding if sys.stdout else ""
    return "\N{RIGHT SINGLE QUOTATION MARK}" if encoding.lower().replace("-", "") == "utf8" else "'"


def checks_and_domains(incomplete: str) -> Iterator[tuple[str, str]]:
    """The same, before them the domains, as --only and --skip take them."""
    found = list(checks(incomplete))
    for domain in dict.fromkeys(id.partition(".")[0] for id, _ in found):
        if domain.startswith(incomplete):
            yield domain, f"All checks {domain}.*"
    yield from found


def hooks(incomplete: str) -> Iterator[tuple[str, str]]:
    """(name, title) of the kinds of hooks that begin so."""
    from gpudoctor.hooks.kinds import KINDS

    yield from ((kind.name, kind.title) for kind in KINDS.values() if kind.name.startswith(incomplete))


def frameworks(incomplete: str) -> list[str]:
    """What `recommend` knows."""
    from gpudoctor.python.candidates import FRAMEWORKS

    return [name for name in FRAMEWORKS if name.startswith(incomplete)]
