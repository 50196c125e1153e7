"""Who and what a machine is: the names of people, machines and networks, serial numbers and passwords of one machine.

Shapes tell an address or a UUID anywhere. That "anna" is a person and "rotkehlchen" a machine only the machine tells.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple
from urllib.parse import quote

from gpudoctor.host import Host, quietly


class Secrets(NamedTuple):
    """Words by what they are. Which of them may be taken out wherever they stand, `fit_to_replace` says."""

    people: tuple[str, ...] = ()  # user names, and full names
    machines: tuple[str, ...] = ()  # host names, the short one and the whole one
    domains: tuple[str, ...] = ()  # "corp.example.com"
    serials: tuple[str, ...] = ()  # serial numbers
    ids: tuple[str, ...] = ()  # 32 hexadecimal digits: /etc/machine-id
    passwords: tuple[str, ...] = ()  # values of variables that are called TOKEN and the like

    def __or__(self, other: "Secrets") -> "Secrets":
        return Secrets(*(tuple(dict.fromkeys((*a, *b))) for a, b in zip(self, other, strict=True)))


_FIRST_PERSON, _NOBODY = 1000, 65534  # user ids of people lie from the one up to the other (login.defs)
_MACHINE_IDS = ("/etc/machine-id", "/var/lib/dbus/machine-id")
_DMI = "/sys/class/dmi/id"
_DMI_SERIALS = ("product_serial", "board_serial", "chassis_serial")
_SHORTEST_PASSWORD = 6

# Names that many machines and accounts have: they tell nothing, and what the checks judge by is written with them.
_ORDINARY = frozenset(
    (
        *("root", "admin", "user", "users", "guest", "test", "nobody", "default", "owner", "public", "local"),
        *("home", "localhost", "localdomain", "host", "server", "node", "worker", "master", "login", "compute"),
        *("cluster", "debian", "ubuntu", "fedora", "rhel", "centos", "rocky", "almalinux", "arch", "archlinux"),
        *("manjaro", "suse", "opensuse", "leap", "tumbleweed", "linux", "gentoo", "mint", "kali", "pop"),
        *("nixos", "amazon", "amzn", "azure", "nvidia", "cuda", "cudnn", "nccl", "gpu", "gpus", "dgx"),
        *("driver", "drivers", "kernel", "module", "modules", "python", "python3", "conda", "miniconda"),
        *("anaconda", "mamba", "torch", "pytorch", "tensorflow", "jax", "cupy", "train", "training", "work"),
        *("workspace", "app", "data", "lib", "lib64", "bin", "usr", "opt", "var", "etc", "src", "run", "tmp"),
        *("dev", "proc", "sys", "boot", "mnt", "media", "build", "builder", "buildd", "mockbuild", "venv"),
        *("docker", "podman", "containerd", "container", "kubernetes", "kubelet", "slurm", "jupyter", "jovyan"),
        *("vscode", "site", "packages", "include", "share", "current", "latest", "stable", "main", "version"),
        *("installed", "none", "system", "systemd", "service", "session", "slice", "error", "warning"),
        *("failed", "install", "upgrade", "remove", "apt", "dpkg", "dnf", "rpm", "pacman", "dkms", "gcc"),
        *("clang", "nouveau", "video", "render", "grub", "generic", "amd64", "arm64", "i386", "x86_64"),
        *("aarch64", "noarch", "runner", "github", "gitlab", "ci", "wsl", "desktop", "laptop", "workstation"),
        *("ec2-user", "core", "cloud"),
    )
)


def fit_to_replace(word: str) -> bool:
    """May this name be replaced wherever it stands? Short ones, mere numbers and everyday words stand for much else."""
    return len(word) >= 3 and not word.isdigit() and word.lower() not in _ORDINARY


def secrets_told_by(host: Host) -> Secrets:
    """What files tell that no check reads. They are asked only to know what must not be told, and are not recorded."""
    name = (quietly(host.read, "/proc/sys/kernel/hostname") or "").strip()
    machines = [name, (quietly(host.read, "/etc/hostname") or "").strip()]
    domains = [word for line in _lines(host, "/etc/resolv.conf") for word in _domains_of(line)]
    # Only what stands behind the address and is this machine's own: 127.0.1.1 is Debian's line for it.
    for line in _lines(host, "/etc/hosts"):
        words = line.partition("#")[0].split()
        if words[:1] == ["127.0.1.1"] or set(machines) & {*words[1:]} - {""}:
            machines += words[1:]
    accounts = [line.split(":") for line in _lines(host, "/etc/passwd")]
    people = [account for account in accounts if len(account) == 7 and _is_person(account[2])]
    serials = [(quietly(host.read, f"{_DMI}/{file}") or "").strip() for file in _DMI_SERIALS]
    return Secrets(
        people=tuple(word for account in people for word in (account[0], *_full_name(account[4]))),
        machines=tuple(machines),
        domains=tuple(domains),
        serials=tuple(serial for serial in serials if is_serial(serial)),
        ids=tuple(id for path in _MACHINE_IDS if len(id := (quietly(host.read, path) or "").strip()) == 32),
    )


def _lines(host: Host, path: str) -> list[str]:
    return (quietly(host.read, path) or "").splitlines()


def _domains_of(line: str) -> list[str]:
    words = line.split()
    return (
        [word.strip(".") for word in words[1:] if "." in word.strip(".")]
        if words[:1] in (["search"], ["domain"])
        else []
    )


def _is_person(user_id: str) -> bool:
    return user_id.isdecimal() and int(user_id) >= _FIRST_PERSON and int(user_id) != _NOBODY


def _full_name(comment: str) -> list[str]:
    name = comment.partition(",")[0].strip()
    return [name, *(word for word in name.split() if len(word) > 3)] if len(name) > 3 else []


def is_serial(text: str) -> bool:
    """Does it tell one device from others? "N/A" and "0" do not."""
    return len(text) >= 4 and bool(re.fullmatch(r"[A-Za-z0-9-]*[0-9][A-Za-z0-9-]*", text))


_NAME = r"[^/\s\"':;,\\<>()\0]+"
# Where a name is one of a person, however short it is.
PEOPLE = re.compile(rf"(?:(?<=/home/)|(?<=/Users/)|(?<=\\Users\\)|(?<=\nRequested-By: )|(?<=^Requested-By: )){_NAME}")
PEOPLE_MARKS = ("/home/", "/Users/", "\\Users\\", "Requested-By: ")  # a text without any has no such name
_HOMES_IN_BINARY = re.compile(rb"/(?:home|Users)/([A-Za-z0-9._-]+)")
_SERIALS = re.compile(r"<[a-z_]*serial[a-z_]*>\s*([^<\s]+)\s*<|\bSerial Number\s*:\s*(\S+)")
_BY_SUDO = re.compile(r"\bSUDO_USER=(\S+?)(?=[\0\s]|$)")


def secrets_among(texts: Mapping[str, str], binaries: bytes) -> Secrets:
    """What recorded answers themselves tell: `texts` by the question that brought them, and files that are no text."""
    people = [name.decode("utf-8", "surrogateescape") for name in _HOMES_IN_BINARY.findall(binaries)]
    serials: list[str] = []
    passwords: list[str] = []
    machines: list[str] = []
    for question, text in texts.items():
        if any(mark in text for mark in PEOPLE_MARKS):
            people += PEOPLE.findall(text)
        if "SUDO_USER=" in text:
            people += _BY_SUDO.findall(text)
        serials += [one or other for one, other in _SERIALS.findall(text)]
        passwords += passwords_in(text)
        match question:
            case "read /proc/self/environ":
                people += _owner(dict(entry.partition("=")[::2] for entry in text.split("\0")))
            case "list /home":
                people += text.split("\0")
            case "read /proc/sys/kernel/hostname" | "read /etc/hostname":
                machines.append(text.strip())
    return Secrets(
        people=tuple(people),
        machines=tuple(machines),
        serials=tuple(filter(is_serial, serials)),
        passwords=tuple(passwords),
    )


def _owner(variables: Mapping[str, str]) -> Iterator[str]:
    for name in ("USER", "LOGNAME", "SUDO_USER"):
        yield variables.get(name, "")
    # "/" and "/root" are nobody's name, nor is the folder of a service: /var/lib/slurm.
    home = variables.get("HOME", "").rstrip("/")
    if home.count("/") >= 2 and not home.startswith(("/var/", "/usr/", "/opt/", "/srv/", "/run/")):
        yield home.rpartition("/")[2]


# Also without a word before it: "KEY" alone stands for too much ("monkey: ...", "unavailable key: ...").
_SECRET_NAME = (
    r"(?:[A-Za-z0-9_.-]{0,60}[_.-])?(?:tokens?|pass|passwd|password|passphrase|pwd|secret|credentials?|pat"
    r"|(?:api|access|secret|private|auth|license|account|master|encryption|signing)[_-]?key(?:[_-]?id)?)"
    r"|[A-Z0-9_]{0,60}(?:_KEY|TOKEN|SECRET|PASSWORD|PASSWD|APIKEY)(?:_ID)?|AWS_[A-Z_]{0,40}(?:ID|KEY|TOKEN)"
)
SECRET_NAME = re.compile(_SECRET_NAME, re.IGNORECASE)
SECRET_ASSIGNMENT = re.compile(
    rf"(?P<before>(?<![A-Za-z0-9_])(?P<name>(?i:{_SECRET_NAME}))[\"']?\s*[:=]\s*[\"']?)"
    r"(?P<value>[^\s\"',;&\0<>{}\[\]()]+)"
)
# "--api-key VALUE" of a command line.
SECRET_OPTION = re.compile(
    rf"(?P<before>(?<![\w-])--(?i:{_SECRET_NAME}|[a-z][a-z0-9-]{{0,30}}-key)[ \t]+[\"']?)"
    r"(?P<value>[A-Za-z0-9][^\s\"'<>]{5,})"
)
CREDENTIALS = re.compile(r"(?P<before>\b[a-z][a-z0-9+.-]{0,20}://)(?P<value>[^/\s@\"'<>]{1,200})@", re.IGNORECASE)


def passwords_in(text: str) -> Iterator[str]:
    """The values that are set under names like HF_TOKEN, and the credentials within addresses."""
    for found in SECRET_ASSIGNMENT.finditer(text):
        if is_password(found["value"]):
            yield found["value"]
    for found in CREDENTIALS.finditer(text):
        yield from (word for word in found["value"].split(":") if is_password(word))


def is_password(value: str) -> bool:
    """Is this value fit to be looked for elsewhere? "required" stands for much else, "hf_x8Jq2" does not."""
    if len(value) < _SHORTEST_PASSWORD or value.startswith(("/", "$", "~", "redacted")) or not fit_to_replace(value):
        return False
    return any(letter.isdigit() for letter in value) or (value.lower() != value and value.upper() != value)


def spellings(word: str) -> Iterable[str]:
    """The word as it is, as it stands in an address, and in a name of the device mapper."""
    return dict.fromkeys((word, quote(word, safe=""), word.replace("-", "--")))
