"""What apt tells the hooks of DPkg::Pre-Install-Pkgs before it calls dpkg: protocol versions 2 and 3 of apt.conf(5)."""

from gpudoctor.preflight.transaction import Change, NoTransaction, Transaction, change

_ACTIONS = ("**CONFIGURE**", "**REMOVE**", "**ERROR**")  # the last: a file that apt has no path of


class TooLittleSaid(NoTransaction):
    """Version 1 of the protocol: names of files, and not a word of versions, removals or of what is there now."""


def parse_pre_install_pkgs(text: str) -> Transaction:
    """The transaction that apt is about to hand to dpkg.

    Raises TooLittleSaid for version 1 of the protocol, NoTransaction for what is none of the three.
    """
    head, _, rest = text.partition("\n")
    if not head.startswith("VERSION "):
        lines = text.split()
        if lines and all(line.startswith("/") and line.endswith(".deb") for line in lines):
            raise TooLittleSaid(
                "apt speaks version 1 of its hook protocol, which names files only; set "
                'DPkg::Tools::Options::HOOK::Version to "3" for this hook'
            )
        raise NoTransaction("this is not what apt tells a hook of DPkg::Pre-Install-Pkgs: it begins with no VERSION")
    version = head.removeprefix("VERSION ").strip()
    if version not in ("2", "3"):
        raise NoTransaction(f"version {version[:20]!r} of apt's hook protocol is not known (2 and 3 are)")
    settings, blank, packages = f"\n{rest}".partition("\n\n")
    if not blank:
        raise NoTransaction("what apt told its hook is cut short: the empty line behind its settings is missing")
    read = _line_of_version_3 if version == "3" else _line_of_version_2
    changes: dict[tuple[str, str], Change] = {}
    for line in packages.splitlines():
        if line.strip():
            one = read(line)
            # Each package comes twice: to be unpacked, and to be configured.
            changes.setdefault((one.name, one.architecture), one)
    command = _command(settings)
    return Transaction("dpkg", tuple(changes.values()), (), f"apt: `{command}`" if command else "apt")


def _line_of_version_3(line: str) -> Change:
    """nvidia-smi 535.261.03-1 amd64 none < 535.309.01-0+deb12u1 amd64 none /var/cache/apt/archives/....deb"""
    match line.split(" ", 8):
        case [name, old, old_architecture, _, "<" | "=" | ">", new, architecture, _, action]:
            return _change(name, old, new, old_architecture if new == "-" else architecture, action, line)
    raise NoTransaction(f"a line that is none of apt's hook protocol: {line[:80]!r}")


def _line_of_version_2(line: str) -> Change:
    """nvidia-smi 535.261.03-1 < 535.309.01-0+deb12u1 /var/cache/apt/archives/....deb"""
    match line.split(" ", 4):
        case [full_name, old, "<" | "=" | ">", new, action]:
            name, _, architecture = full_name.partition(":")
            return _change(name, old, new, architecture, action, line)
    raise NoTransaction(f"a line that is none of apt's hook protocol: {line[:80]!r}")


def _change(name: str, old: str, new: str, architecture: str, action: str, line: str) -> Change:
    # Of a package that apt takes away only to bring it back, both lines name the version that is to come.
    if not (action.startswith("/") or action in _ACTIONS):
        raise NoTransaction(f"apt's hook protocol knows no such action: {line[:80]!r}")
    return change(
        name, "" if architecture == "-" else architecture, "" if old == "-" else old, "" if new == "-" else new
    )


def _command(settings: str) -> str:
    """The user's command: "apt-get dist-upgrade", "" if apt did not say."""
    from urllib.parse import unquote

    key = "CommandLine::AsString="
    said = next((line.removeprefix(key) for line in settings.splitlines() if line.startswith(key)), "")
    command = unquote(said).strip()
    # It is shown, and nothing else: what cannot be shown on one line is not.
    return command if command.isprintable() and len(command) < 200 else ""
