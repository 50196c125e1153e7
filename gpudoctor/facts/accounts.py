"""Names of the users and groups that own device files and processes."""

from collections.abc import Mapping
from typing import NamedTuple

from gpudoctor.host import Host
from gpudoctor.registry import fact


class Accounts(NamedTuple):
    """Local users and groups by number, from /etc/passwd and /etc/group; those of a directory service are not there."""

    users: Mapping[int, str]
    groups: Mapping[int, str]


@fact
def accounts(host: Host) -> Accounts:
    """Empty where those files are missing."""
    return Accounts(_names(host.read("/etc/passwd")), _names(host.read("/etc/group")))


def _names(text: str | None) -> Mapping[int, str]:
    rows = (line.split(":") for line in (text or "").splitlines())
    return {int(row[2]): row[0] for row in rows if len(row) > 2 and row[2].isdecimal()}
