"""What tells whose machine it is by its mere shape: UUIDs, addresses of people, networks and machines, keys.

Each shape is told from its look-alikes: a PCI address is no IPv6 address, CUDA 12.4.127.1 is no IPv4 address.
"""

import re
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from gpudoctor.redaction.words import CREDENTIALS, SECRET_ASSIGNMENT, SECRET_OPTION, fit_to_replace


class Shape(NamedTuple):
    """One kind of word. Of what the pattern finds only the group `value` is replaced."""

    kind: str  # words of one kind are numbered together
    pattern: re.Pattern[str]
    stays: Callable[[re.Match[str]], bool] = lambda found: False  # look-alikes, and what is public
    needs: tuple[str, ...] = ()  # in a text without one of these, in small letters, it is not looked for
    in_binary: bool = True  # also looked for within files that are no text


def shapes_for(text: str) -> list[Shape]:
    """Those that the text can have at all: looking for a plain word is much quicker than for a pattern."""
    small = text.lower()
    return [shape for shape in SHAPES if not shape.needs or any(word in small for word in shape.needs)]


# Package maintainers and the places where packages come from are no secret, and the checks judge by them.
_PUBLIC = (
    *("nvidia.com", "debian.org", "ubuntu.com", "canonical.com", "redhat.com", "suse.com", "suse.de", "archlinux.org"),
    *("opensuse.org", "fedoraproject.org", "rockylinux.org", "almalinux.org", "centos.org", "rpmfusion.org"),
    *("launchpad.net", "launchpadcontent.net", "kernel.org", "python.org"),
    *("pytorch.org", "anaconda.org", "anaconda.com", "conda.io", "github.com", "githubusercontent.com", "github.io"),
    *(
        "docker.com",
        "docker.io",
        "nvcr.io",
        "ghcr.io",
        "quay.io",
        "gcr.io",
        "k8s.io",
        "huggingface.co",
        "microsoft.com",
    ),
    *("googleapis.com", "tensorflow.org", "freedesktop.org", "gnu.org", "readthedocs.io", "redacted.invalid"),
)
_UNITS = (".service", ".slice", ".scope", ".socket", ".target", ".timer", ".mount", ".so")  # user@1000.service
# Names of EFI variables end with these: the firmware's own, image security, shim's.
_EFI = (
    "8be4df61-93ca-11d2-aa0d-00e098032b8c",
    "d719b2cb-3d3a-4596-a3bc-dad00e67656f",
    "605dab50-e046-4300-abb6-3dd810dd8b23",
)


_ARCHITECTURES = ("amd64", "arm64", "i386", "all", "any", "x86_64", "aarch64", "noarch")  # apt writes "passwd:amd64"


_SOURCES = (
    "c",
    "h",
    "cc",
    "cpp",
    "cu",
    "cuh",
    "hpp",
    "inc",
    "S",
    "py",
    "pyx",
    "so",
    "ko",
    "rs",
    "go",
    "sh",
    "log",
    "conf",
)


def _is_public(host: str) -> bool:
    return host.lower().rstrip(".").endswith(tuple(f".{name}" for name in _PUBLIC)) or host.lower() in _PUBLIC


def _public_address(found: re.Match[str]) -> bool:
    credentials = found.string.endswith("://", 0, found.start())  # taken out already, and no mail
    return credentials or found[0].endswith(_UNITS) or _is_public(found[0].rpartition("@")[2])


def _known_host(found: re.Match[str]) -> bool:
    host = found["value"]
    return _is_public(host) or not fit_to_replace(host.partition(".")[0]) or bool(re.fullmatch(r"[\d.]+", host))


def _no_ipv4(found: re.Match[str]) -> bool:
    """Is it a version, or an address that everybody has?"""
    try:
        address = IPv4Address(found["value"])
    except ValueError:
        return True
    before, after = found.string[max(found.start() - 24, 0) : found.start()], found.string[found.end() :][:24]
    if address.is_loopback or address.is_unspecified or address.is_multicast or int(address) >> 24 == 255:
        return True
    if re.match(r"[-+~_][A-Za-z0-9]", after) and not re.match(r"-\d+\.\d+\.\d+\.\d+", after):
        return True  # 5.15.153.1-microsoft, 9.10.2.21-1
    if after.startswith((".dist-info", ".egg-info", ".so", ".tar", ".whl", ".run", ".deb", ".rpm")):
        return True
    if re.search(
        r"(?:[=<>!~]=\s*|\([<>=]+\s*|:\w+ \(|\.so\.|[A-Za-z0-9][-_^~]|\bv|\d:|ver(?:sion)?['\"]?\s*[:=]?\s*['\"]?v?)$",
        before,
        re.IGNORECASE,
    ):
        return True
    # Alone in its line or its field it is what a package manager or an installer wrote there.
    return before.rpartition("\n")[2].strip() == "" and after.partition("\n")[0].strip() == ""


def _no_ipv6(found: re.Match[str]) -> bool:
    try:
        address = IPv6Address(found["value"])
    except ValueError:
        return True
    return address.is_loopback or address.is_unspecified or found["value"].startswith("::")


UUID = re.compile(r"(?<![0-9A-Fa-f])(?P<value>[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12})(?![0-9A-Fa-f])")
# Its beginning, as CUDA_VISIBLE_DEVICES may have it.
SHORT_UUID = re.compile(
    r"\b(?P<before>(?:GPU|MIG)-)(?P<value>[0-9A-Fa-f]{4,8}(?:-[0-9A-Fa-f]{1,4}){0,3}(?:-[0-9A-Fa-f]{1,11})?)(?![0-9A-Za-z-])"
)

# The order counts: what stands within another is taken first. A UUID is the same one with and without "GPU-".
SHAPES = (
    Shape("key", CREDENTIALS, lambda found: found["value"] == "redacted", needs=("://",)),
    Shape(
        "key",
        re.compile(r"(?P<before>\b(?i:basic|bearer)\s+)(?P<value>[A-Za-z0-9+/=._~-]{12,})"),
        needs=("basic", "bearer"),
    ),
    # GRUB's: `password NAME WORD`.
    Shape(
        "key",
        re.compile(r"(?P<before>^[ \t]*password[ \t]+\S+[ \t]+)(?P<value>\S+)", re.MULTILINE),
        in_binary=False,
        needs=("password",),
    ),
    Shape(
        "key",
        SECRET_ASSIGNMENT,
        lambda found: found["value"] in _ARCHITECTURES,
        needs=("token", "pass", "pwd", "secret", "credential", "pat", "key", "aws_"),
    ),
    Shape(
        "key",
        re.compile(
            r"(?P<value>(?<![A-Za-z0-9])(?:hf_[A-Za-z0-9]{16,}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}"
            r"|gl(?:pat|rt|dt|cbt|ptt|ft|soat|agent)-[\w-]{16,}|nvapi-[\w-]{20,}|wandb_v1_\w{16,}|(?:npm|dckr_pat|sk_live|r8)_[\w-]{16,}"
            r"|(?:hvs|ya29)\.[\w-]{16,}|tskey-[\w-]{16,}|SG\.[\w-]{16,}\.[\w-]{16,}"
            r"|sk-[A-Za-z0-9_-]{20,}|xox[abprs]-[A-Za-z0-9-]{10,}|A[KS]IA[A-Z0-9]{16}|AIza[\w-]{30,}|pypi-[\w-]{30,}"
            r"|eyJ[\w-]{10,}\.[\w-]{5,}\.[\w-]{5,}))(?![A-Za-z0-9])"
        ),
    ),
    # What proves an address's right to what lies there: Azure's and Amazon's signed links.
    Shape(
        "key",
        re.compile(r"(?P<before>[?&](?:sig|X-Amz-Signature|X-Goog-Signature)=)(?P<value>[^\s&\"'<>]+)"),
        needs=("sig=", "signature="),
    ),
    Shape(
        "key",
        re.compile(
            r"(?P<before>-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----\s*)(?P<value>[A-Za-z0-9+/=\s\\]+?)(?=\s*-----END)"
        ),
        needs=("private key-----",),
    ),
    Shape(
        "key",
        SECRET_OPTION,
        lambda found: found["value"] in _ARCHITECTURES,
        needs=("--",),
    ),
    Shape("grub", re.compile(r"(?P<value>grub\.pbkdf2\.\S+)"), in_binary=False, needs=("grub.pbkdf2",)),
    Shape(
        "uuid",
        UUID,
        lambda found: found["value"].lower() in _EFI,
    ),
    Shape(
        "volume",
        re.compile(
            r"(?P<before>\bUUID=|--fs-uuid (?:--\S+ )*)(?P<value>[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}|[0-9A-Fa-f]{16})\b"
        ),
        needs=("uuid",),
    ),
    Shape(
        "disk",
        re.compile(r"(?P<before>/dev/disk/by-(?:id|label|partlabel)/|\b(?:PART)?LABEL=)(?P<value>[^\s\"',]+)"),
        needs=("/dev/disk/", "label="),
    ),
    Shape(
        "partition", re.compile(r"(?P<before>\bPARTUUID=)(?P<value>[0-9a-f]{8}-[0-9a-f]{2})\b"), needs=("partuuid=",)
    ),
    Shape("id", re.compile(r"(?<![0-9A-Za-z])(?P<value>[0-9a-f]{32})(?![0-9A-Za-z])"), in_binary=False),
    Shape("container", re.compile(r"(?<![0-9A-Za-z])(?P<value>[0-9a-f]{64})(?![0-9A-Za-z])"), in_binary=False),
    Shape(
        "mac",
        re.compile(
            r"(?<![0-9A-Fa-f])(?<![0-9A-Fa-f]:)(?P<value>[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){5})(?!:?[0-9A-Fa-f])"
        ),
    ),
    Shape("interface", re.compile(r"(?P<before>\b(?:en|wl|ww|ib)x)(?P<value>[0-9a-f]{12})\b")),
    Shape(
        "mail",
        re.compile(r"(?<![A-Za-z0-9._%+-])(?P<value>[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9.-]{1,200}\.[A-Za-z]{2,20})"),
        _public_address,
        needs=("@",),
    ),
    Shape(
        "mail",
        re.compile(r"(?P<before>\bLinux version \S+ \()(?P<value>[^\s()@]+@[^\s()@]+)\)"),
        lambda found: _is_public(found["value"].rpartition("@")[2]),
        needs=("linux version",),
    ),
    Shape(
        "site",
        re.compile(r"(?P<before>\b[a-z][a-z0-9+.-]{0,20}://(?:[^/\s@]{0,200}@)?)(?P<value>[A-Za-z0-9][A-Za-z0-9.-]*)"),
        _known_host,
        needs=("://",),
    ),
    Shape(
        "site",
        re.compile(
            r"(?<![\w./-])(?P<value>[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,9}\.(?:internal|local|lan|corp|intranet|intra|private))(?![\w-])"
        ),
        _known_host,
        needs=(".internal", ".local", ".lan", ".corp", ".intranet", ".intra", ".private"),
    ),
    # A name with a port is a machine's, a file with the number of a line is none.
    Shape(
        "site",
        re.compile(
            r"(?<=[\"'=/@,\[ ])(?P<value>[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,9})(?=:\d{2,5}(?![\w:.]))"
        ),
        lambda found: _known_host(found) or found["value"].rpartition(".")[2] in _SOURCES,
    ),
    # Where files lie on a server.
    Shape(
        "site",
        re.compile(r"(?P<before> - nfs4? |\bnfsroot=| - cifs //)(?P<value>[A-Za-z0-9.-]+)(?=[:/])"),
        _known_host,
        needs=(" - nfs", "nfsroot=", " - cifs"),
    ),
    Shape(
        "ipv6",
        re.compile(r"(?<![\w:.])(?P<value>[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{0,4}){2,8})(?![\w:])"),
        _no_ipv6,
    ),
    Shape(
        "ipv4",
        re.compile(r"(?<![\w.])(?P<value>\d{1,3}(?:\.\d{1,3}){3})(?!\.?\d)(?![A-Za-z])"),
        _no_ipv4,
        in_binary=False,
    ),
    Shape(
        "tagged",
        re.compile(r"(?P<before><(?P<tag>[a-z_]*serial[a-z_]*|board_id|process_name)>)(?P<value>[^<]+)(?=</(?P=tag)>)"),
        lambda found: found["value"].strip() in ("N/A", "[N/A]"),
        in_binary=False,
        needs=("serial", "board_id", "process_name"),
    ),
)
