"""What steers NCCL: its variables, the files that set them for every process, and the networks that they name."""

from collections.abc import Iterator
from typing import NamedTuple

from gpudoctor.facts.environment import Environment
from gpudoctor.host import Host, Unavailable
from gpudoctor.registry import fact


class NcclSetting(NamedTuple):
    name: str  # "NCCL_SOCKET_IFNAME"
    value: str
    source: str  # "environment", "/etc/nccl.conf:3"


class NcclSettings(NamedTuple):
    """The settings that count: a variable comes before ~/.nccl.conf, and that before /etc/nccl.conf."""

    settings: tuple[NcclSetting, ...]
    unread: tuple[str, ...] = ()  # files that could not be read, with the reason

    def get(self, name: str) -> NcclSetting | None:
        return next((one for one in self.settings if one.name == name), None)


class Networks(NamedTuple):
    """What NCCL can talk over."""

    interfaces: tuple[str, ...]  # "eth0", "lo"
    fabrics: tuple[str, ...]  # "mlx5_0": InfiniBand and RoCE devices


@fact
def nccl_settings(host: Host, environment: Environment) -> NcclSettings:
    found = {n: NcclSetting(n, v, "environment") for n, v in environment.variables.items() if n.startswith("NCCL_")}
    unread = []
    home = environment.variables.get("HOME", "").rstrip("/")
    own = environment.variables.get("NCCL_CONF_FILE", "") or (f"{home}/.nccl.conf" if home else "")
    for path in dict.fromkeys((own, "/etc/nccl.conf")):
        try:
            text = host.read(path, first=65536) if path.startswith("/") else None
        except Unavailable as reason:
            unread.append(str(reason))
            continue
        for setting in _lines(text or "", path):
            found.setdefault(setting.name, setting)
    return NcclSettings(tuple(found.values()), tuple(unread))


def _lines(text: str, path: str) -> Iterator[NcclSetting]:
    for number, line in enumerate(text.split("\n"), start=1):
        # NCCL takes all behind the first "=" for the value; "#NCCL_DEBUG" is another name.
        name, equals, value = line.partition("=")
        if equals and name.strip().startswith("NCCL_"):
            yield NcclSetting(name.strip(), value.strip(), f"{path}:{number}")


@fact
def networks(host: Host) -> Networks:
    """Raises Unavailable where no kernel runs that has any."""
    interfaces = host.list("/sys/class/net")
    if interfaces is None:
        raise Unavailable("/sys/class/net is not there")
    # Drivers for bonds leave a file in this folder that is no interface.
    return Networks(
        tuple(name for name in interfaces if name != "bonding_masters"), host.list("/sys/class/infiniband") or ()
    )


def chosen(value: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """The names that a list of NCCL's kind leaves: "eth,ib" stands for beginnings, "=eth0" for whole names, "^"
    before either for all others; a port behind a colon ("mlx5_0:1") is passed over.
    """
    excluding = value.startswith("^")
    rest = value.removeprefix("^")
    exact = rest.startswith("=")
    words = [word.partition(":")[0] for word in rest.removeprefix("=").split(",") if word]
    if not words:
        return names
    matching = [name for name in names if any(name == word if exact else name.startswith(word) for word in words)]
    return tuple(name for name in names if (name in matching) is not excluding)
