"""The kinds of hooks: which files each consists of, and what a person has to do besides."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from gpudoctor.hooks import package_managers, runners, schedules
from gpudoctor.hooks.files import HookFile
from gpudoctor.hooks.wish import Wish


class Kind(NamedTuple):
    """One kind of hook."""

    name: str
    title: str  # what it does, in one line
    files: Callable[[Wish], tuple[HookFile, ...]]
    enforces: bool = False  # can stop what it was called before
    notifies: bool = False  # takes --notify
    expects: bool = False  # takes --expect-gpus
    as_root: bool = True  # what it installs is run by root
    then: tuple[str, ...] = ()  # what a person does after it was installed
    enabled: str = ""  # a link that is there while systemd runs it: not to be removed before

    @property
    def paths(self) -> tuple[str, ...]:
        return tuple(file.path for file in self.files(Wish(("gpudoctor",))))


_ALL = (
    Kind("apt", "warn before an apt upgrade breaks the GPU, and check after it", package_managers.apt, enforces=True),
    Kind("kernel", "say when a kernel that came has no NVIDIA module (Debian, Ubuntu)", package_managers.kernel),
    Kind(
        "dnf",
        "as apt, with dnf5; with dnf4 the check after an upgrade",
        package_managers.dnf,
        enforces=True,
        then=(
            "dnf5 calls it where the package libdnf5-plugin-actions is installed, dnf4 where"
            " python3-dnf-plugin-post-transaction-actions is.",
        ),
    ),
    Kind(
        "zypper", "as apt, but cannot stop zypper; told on its terminal or in the system log", package_managers.zypper
    ),
    Kind("pacman", "as apt", package_managers.pacman, enforces=True),
    Kind("cron", "check every hour, and report what has changed", schedules.cron, notifies=True, expects=True),
    Kind(
        "systemd",
        "as cron, by a systemd timer",
        schedules.systemd,
        notifies=True,
        expects=True,
        then=(f"To start it: systemctl daemon-reload && systemctl enable --now {schedules.TIMER}",),
        enabled=f"/etc/systemd/system/timers.target.wants/{schedules.TIMER}",
    ),
    Kind(
        "ci",
        "fail a CI job before it starts when the GPU of its runner does not work",
        runners.job_started,
        expects=True,
        as_root=False,
        then=runners.USE,
    ),
)

KINDS: Mapping[str, Kind] = {kind.name: kind for kind in _ALL}
