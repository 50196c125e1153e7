"""What may keep a kernel module from being loaded: modprobe.d, and the kernel's command line."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from gpudoctor.host import Host, NotRunning
from gpudoctor.registry import fact


class ModprobeLine(NamedTuple):
    """One directive that counts for an NVIDIA or a rival module."""

    path: str  # file, or "/proc/cmdline"
    directive: str  # "blacklist", "install", "options", "alias"; on the command line "module_blacklist", "parameter"
    module: str  # with "-" as "_"; "" for a parameter of no module: nomodeset, rd.driver.blacklist
    rest: str  # what follows: "/bin/false", "NVreg_DeviceFileMode=0660"

    @property
    def words(self) -> str:
        """ "blacklist nvidia"; "modprobe.blacklist=nvidia" on the kernel's command line."""
        if self.path == _COMMAND_LINE:
            names = {directive: name for name, directive in _BLACKLISTS.items()}
            return f"{names.get(self.directive, self.directive)}={self.module}"
        return f"{self.directive} {self.module} {self.rest}".strip()


class ModprobeConfig(NamedTuple):
    """All such directives, in modprobe's order of files (a file in /etc hides one of the same name elsewhere)."""

    lines: tuple[ModprobeLine, ...]
    prime: str  # content of /etc/prime-discrete: "on", "off", "on-demand", "" if there is none

    def blacklisting(self, module: str) -> tuple[ModprobeLine, ...]:
        """The lines that keep this module from being loaded: blacklist, module_blacklist, install ... false."""
        return tuple(line for line in self.lines if line.module == module and _forbids(line))

    def options(self, module: str) -> Mapping[str, str]:
        """Options that modprobe would give to this module, by name; those on the kernel's command line come last."""
        kinds = ("options", "parameter")
        words = " ".join(line.rest for line in self.lines if line.directive in kinds and line.module == module)
        return {name: value for name, _, value in (word.partition("=") for word in words.split())}


def _forbids(line: ModprobeLine) -> bool:
    if line.directive in ("blacklist", "module_blacklist"):
        return True
    if line.directive == "alias":
        return line.rest == "off"  # no such module: what nvidia-prime writes where the GPU is switched off
    command = line.rest.split(maxsplit=1)[:1]
    return line.directive == "install" and bool(command) and command[0].rpartition("/")[2] in ("false", "true", ":")


# In modprobe's order: of files with the same name only the first one counts.
_FOLDERS = (
    "/etc/modprobe.d",
    "/run/modprobe.d",
    "/usr/local/lib/modprobe.d",
    "/usr/lib/modprobe.d",
    "/lib/modprobe.d",
)
_COMMAND_LINE = "/proc/cmdline"
_RIVALS = ("nouveau", "nova", "nova_core", "nova_drm", "vfio_pci", "pci_stub")
_BLACKLISTS = {"module_blacklist": "module_blacklist", "modprobe.blacklist": "blacklist"}


@fact
def modprobe_config(host: Host) -> ModprobeConfig:
    """From all modprobe.d folders and, on a running machine, the kernel's command line."""
    paths: dict[str, str] = {}
    for folder in _FOLDERS:
        for name in _names(host, folder):
            if name.endswith(".conf"):
                paths.setdefault(name, f"{folder}/{name}")
    lines = [line for _, path in sorted(paths.items()) for line in _lines(path, _text(host, path))]
    lines += _parameters(_text(host, _COMMAND_LINE).split())
    return ModprobeConfig(tuple(lines), (host.read("/etc/prime-discrete") or "").strip())


def _names(host: Host, folder: str) -> Sequence[str]:
    try:
        return host.list(folder) or ()
    except NotRunning:  # /run of a disk: nothing is configured there
        return ()


def _text(host: Host, path: str) -> str:
    """ "" also for a link to /dev/null or to nothing: that is how a file of the same name is masked."""
    try:
        return host.read(path) or ""
    except NotRunning:
        return ""


def _lines(path: str, text: str) -> Iterator[ModprobeLine]:
    for line in text.replace("\\\n", " ").splitlines():
        directive, *words = line.split(maxsplit=2)[:3] or ("",)
        if not words:
            continue
        module, rest = _normalised(words[0]), " ".join(" ".join(words[1:]).split())
        match directive:
            case "blacklist" | "install" | "options" | "alias" if _counts(module):
                yield ModprobeLine(path, directive, module, rest)
            case "alias" if _counts(_normalised(rest)):
                yield ModprobeLine(path, directive, _normalised(rest), words[0])


def _parameters(words: Sequence[str]) -> Iterator[ModprobeLine]:
    for word in words:
        name, _, value = word.strip('"').partition("=")
        module, dot, parameter = name.partition(".")
        listed = [listed for listed in map(_normalised, value.split(",")) if _counts(listed)]
        if name in _BLACKLISTS:
            for blacklisted in listed:
                yield ModprobeLine(_COMMAND_LINE, _BLACKLISTS[name], blacklisted, "")
        elif dot and _counts(_normalised(module)):
            yield ModprobeLine(_COMMAND_LINE, "parameter", _normalised(module), f"{parameter}={value}")
        elif name == "nomodeset" or (name == "rd.driver.blacklist" and listed):  # the latter: in the initramfs only
            yield ModprobeLine(_COMMAND_LINE, "parameter", "", word)


def _normalised(module: str) -> str:
    return module.strip().replace("-", "_")


def _counts(module: str) -> bool:
    return module.startswith("nvidia") or module in _RIVALS
