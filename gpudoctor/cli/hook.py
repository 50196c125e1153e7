"""`gpudoctor hook`: list the kinds of hooks, print one, install it, take it away."""

import os
from typing import NamedTuple

from gpudoctor.cli import BadUsage
from gpudoctor.cli.check import deliver
from gpudoctor.hooks.command import (
    named_command,
    own_command_that_runs,
    require_only_root_changes,
    require_runs,
    require_safe_letters,
)
from gpudoctor.hooks.files import Standing, standing, take_away, write
from gpudoctor.hooks.kinds import KINDS, Kind
from gpudoctor.hooks.notify import require_target
from gpudoctor.hooks.package_managers import has_json_actions
from gpudoctor.hooks.wish import Wish
from gpudoctor.machine import RootHost
from gpudoctor.near_names import meant, near_names


class HookOptions(NamedTuple):
    """`gpudoctor hook`, as typer understood it."""

    kind: str | None
    install: bool = False
    remove: bool = False
    enforce: bool = False
    notify: tuple[str, ...] = ()
    expect_gpus: int | None = None
    root: str | None = None
    command: str | None = None


def hook(options: HookOptions) -> int:
    """Do what the options say, and tell what was done. Returns 0. Raises BadUsage or BadSource if it cannot be done."""
    host = RootHost(options.root or "/")
    if options.kind is None:
        if options.install or options.remove:
            raise BadUsage(f"which hook? There are {', '.join(KINDS)}")
        deliver(_listing(host), None)
        return 0
    kind = _kind(options.kind)
    if options.install and options.remove:
        raise BadUsage("--install and --remove are two wishes; one of them is enough")
    if options.remove:
        deliver(_removed(kind, host), None)
        return 0
    _require_sense(kind, options)
    wish = _wish(options, host)
    if kind.name == "dnf" and options.enforce and not wish.json_actions:
        raise BadUsage(
            "only dnf5 with its actions plugin (package libdnf5-plugin-actions, 5.2.11 or later) can be stopped by a"
            " hook, and it is not here; without --enforce dnf is watched all the same"
        )
    if options.install:
        deliver(_installed(kind, wish, host, options), None)
    else:
        deliver(_printed(kind, wish), None)
    return 0


def _kind(name: str) -> Kind:
    if name not in KINDS:
        question = meant(near_names(name, KINDS), f"there are {', '.join(KINDS)}")
        raise BadUsage(f"there is no hook {name!r}; {question}")
    return KINDS[name]


def _require_sense(kind: Kind, options: HookOptions) -> None:
    if options.enforce and not kind.enforces:
        able = ", ".join(other.name for other in KINDS.values() if other.enforces)
        raise BadUsage(f"a hook of {kind.name} can stop nothing, so --enforce has no meaning there; {able} can")
    if options.notify and not kind.notifies:
        raise BadUsage(f"--notify goes with {' and '.join(k.name for k in KINDS.values() if k.notifies)}")
    if options.expect_gpus is not None and not kind.expects:
        raise BadUsage(f"--expect-gpus goes with {', '.join(k.name for k in KINDS.values() if k.expects)}")
    if options.root and not options.command:
        raise BadUsage("with --root, --command says by which path gpudoctor is called there")
    for target in options.notify:
        require_target(target)


def _wish(options: HookOptions, host: RootHost) -> Wish:
    words = named_command(options.command) if options.command else own_command_that_runs()
    require_safe_letters(words)
    return Wish(words, options.enforce, options.notify, options.expect_gpus, has_json_actions(host))


def _listing(host: RootHost) -> str:
    width = max(len(name) for name in KINDS)
    lines = []
    for kind in KINDS.values():
        lines += [f"{kind.name.ljust(width)}  {kind.title}", f"{' ' * width}    {_standing(kind, host)}"]
    lines += ["", "`gpudoctor hook KIND` prints what --install would write; --remove takes it away."]
    return "\n".join(lines) + "\n"


def _standing(kind: Kind, host: RootHost) -> str:
    there = {file.path: standing(file, host.root) for file in kind.files(Wish(("gpudoctor",)))}
    foreign = [path for path, found in there.items() if found is Standing.FOREIGN]
    missing = [path for path, found in there.items() if found is Standing.ABSENT]
    if foreign:
        return f"{', '.join(foreign)} is not gpudoctor's"
    if len(missing) == len(there):
        return "not installed"
    if missing:
        return f"installed, but {', '.join(missing)} is missing"
    if kind.enabled and host.link(kind.enabled) is None:
        return f"installed, not started. {' '.join(kind.then)}"
    return "installed"


def _printed(kind: Kind, wish: Wish) -> str:
    pieces = [f"==> {file.path} (mode {file.mode:o}) <==\n{file.text}" for file in kind.files(wish)]
    return "\n".join(pieces)


def _installed(kind: Kind, wish: Wish, host: RootHost, options: HookOptions) -> str:
    if host.root == "/":
        _require_root(kind, "--install")
        require_runs(wish.command)
    if kind.as_root and os.geteuid() == 0:
        require_only_root_changes(wish.command[0], host.root, own=options.command is None)
        for target in options.notify:
            if target.startswith("command:"):
                require_only_root_changes(target.removeprefix("command:"), host.root)
    written = write(kind.files(wish), host.root)
    if not written:
        return f"the {kind.name} hook is installed already: nothing to do\n"
    return "".join(f"{line}\n" for line in (*(f"written: {path}" for path in written), *kind.then))


def _removed(kind: Kind, host: RootHost) -> str:
    if host.root == "/":
        _require_root(kind, "--remove")
    if kind.enabled and host.link(kind.enabled) is not None:
        timer = os.path.basename(kind.enabled)
        raise BadUsage(f"systemd runs it: `systemctl disable --now {timer}` first, then remove it")
    removed = take_away(kind.paths, host.root)
    if not removed:
        return f"the {kind.name} hook is not installed: nothing to do\n"
    return "".join(f"removed: {path}\n" for path in removed)


def _require_root(kind: Kind, wish: str) -> None:
    if os.geteuid() != 0:
        folders = ", ".join(dict.fromkeys(os.path.dirname(path) for path in kind.paths))
        raise BadUsage(f"hook {kind.name} {wish} changes {folders}, which only root can: run it with sudo")
