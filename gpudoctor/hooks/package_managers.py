"""The files by which package managers call gpudoctor, each in its manager's own format.

All of them work on when gpudoctor is gone or broken: only its exit code 10 (see `run.STOP`) stops anything.
"""

from gpudoctor.facts.package_names import globs
from gpudoctor.hooks.files import HookFile, mark
from gpudoctor.hooks.wish import Wish
from gpudoctor.host import Host, quietly

# Stops an upgrade only when gpudoctor says so: not when it is not found (127), was killed (137) or crashed (1).
_UNLESS_STOPPED = "|| test $? != 10"


def apt(wish: Wish) -> tuple[HookFile, ...]:
    # apt takes the first word of the command for the name under which the options of a hook stand. The variable is
    # that word: it makes the name ours alone, whichever interpreter runs gpudoctor.
    before = f"GPUDOCTOR_HOOK=apt {wish.calls('apt-before')} {_UNLESS_STOPPED}"
    return (
        HookFile(
            "/etc/apt/apt.conf.d/90gpudoctor",
            f"""{mark("apt", "//")}
// Before apt calls dpkg, gpudoctor reads what is to come and warns where the GPU would not work afterwards.
// With "true" here it stops such an upgrade; `-o GpuDoctor::Enforce=false` lets one pass all the same.
GpuDoctor::Enforce "{str(wish.enforce).lower()}";
DPkg::Pre-Install-Pkgs {{ "{before}"; }};
DPkg::Tools::Options::GPUDOCTOR_HOOK=apt::Version "3";
DPkg::Post-Invoke {{ "{wish.calls("apt-after")} || true"; }};
""",
        ),
    )


def kernel(wish: Wish) -> tuple[HookFile, ...]:
    return (
        HookFile(
            "/etc/kernel/postinst.d/zz-gpudoctor",
            f"""#!/bin/sh
{mark("kernel")}
# Called with the release of a kernel that was installed. Where DKMS fails, the package manager does not come this far:
# `gpudoctor hook apt` looks after that.
{wish.calls("kernel")} "$1"
exit 0
""",
            0o755,
        ),
    )


# As action files read it: patterns for names of packages.
_WATCHED = globs()


def dnf(wish: Wish) -> tuple[HookFile, ...]:
    after = wish.calls("dnf-after")
    if wish.json_actions:
        before = wish.calls("dnf-before", *(["--enforce"] if wish.enforce else []))
        new = f"pre_transaction:::mode=json:{before}\npost_transaction::::{after} --noted"
    else:  # an older plugin refuses what it does not know, and dnf with it
        new = "\n".join(f"post_transaction:{pattern}:::{after}" for pattern in _WATCHED)
    old = "\n".join(f"{pattern}:any:{after} || true" for pattern in _WATCHED)
    return (
        HookFile(
            "/etc/dnf/plugins/post-transaction-actions.d/gpudoctor.action",
            f"""{mark("dnf")}
# For dnf4. The command is the same on each line: dnf runs it once.
{old}
""",
        ),
        HookFile(
            "/etc/dnf/libdnf5-plugins/actions.d/gpudoctor.actions",
            f"""{mark("dnf")}
# For dnf5, which runs the same command once, and goes on where it fails.
{new}
""",
        ),
    )


# Where distributions keep the plugin; a word of its JSON mode tells whether it has that mode.
_ACTIONS_PLUGINS = (
    "/usr/lib64/libdnf5/plugins/actions.so",
    "/usr/lib/libdnf5/plugins/actions.so",
    "/usr/lib/x86_64-linux-gnu/libdnf5/plugins/actions.so",
    "/usr/lib/aarch64-linux-gnu/libdnf5/plugins/actions.so",
)


def has_json_actions(host: Host) -> bool:
    """Can the actions plugin of dnf5 hold a conversation (dnf5 5.2.11 and later, by its files)?"""
    return any(
        b"trans_packages" in (quietly(lambda path: host.read_bytes(path, 8 << 20), path) or b"")
        for path in _ACTIONS_PLUGINS
    )


def zypper(wish: Wish) -> tuple[HookFile, ...]:
    return (
        HookFile(
            "/usr/lib/zypp/plugins/commit/gpudoctor",
            f"""#!/bin/sh
{mark("zypper")}
# Speaks libzypp's protocol for commit plugins on its standard streams; libzypp goes on without a plugin that ends.
exec {wish.calls("zypper")}
""",
            0o755,
        ),
    )


_TARGETS = "\n".join(f"Target = {pattern}" for pattern in _WATCHED)


def pacman(wish: Wish) -> tuple[HookFile, ...]:
    """pacman tells a hook names only, and not which of them go: so one hook notes those, and the next one judges."""
    enforce = ["--enforce"] if wish.enforce else []
    before = f"/bin/sh -c '{wish.calls('pacman-before', *enforce)} {_UNLESS_STOPPED}'"
    everything = ("Install", "Upgrade", "Remove")
    return (
        _alpm("gpudoctor-1-removals", ("Remove",), "PreTransaction", wish.calls("pacman-removals")),
        _alpm("gpudoctor-2-before", everything, "PreTransaction", before, aborts=wish.enforce),
        _alpm("zz-gpudoctor-after", everything, "PostTransaction", wish.calls("pacman-after"), targets=False),
    )


def _alpm(
    name: str, operations: tuple[str, ...], when: str, command: str, *, aborts: bool = False, targets: bool = True
) -> HookFile:
    """A hook as alpm-hooks(5) describes it."""
    trigger = "\n".join(f"Operation = {operation}" for operation in operations)
    flags = "\nNeedsTargets" * targets + "\nAbortOnFail" * aborts
    return HookFile(
        f"/etc/pacman.d/hooks/{name}.hook",
        f"""{mark("pacman")}
[Trigger]
{trigger}
Type = Package
{_TARGETS}

[Action]
Description = gpudoctor: will the GPU work afterwards?
When = {when}
Exec = {command}{flags}
""",
    )
