"""What tests of package histories share: a log of apt, and short ways to ask."""

import time
from pathlib import Path

from disk_trees import facts_on

from gpudoctor.facts.history import PackageEvent, PackageHistory

APT = "/var/log/apt/history.log"
RUNS = """
Start-Date: 2026-11-20  09:00:00
Commandline: apt-get -y install nvidia-kernel-dkms
Requested-By: anna (1000)
Install: nvidia-kernel-dkms:amd64 (535.261.03-1), dkms:amd64 (3.0.10-8+deb12u1, automatic), tree:amd64 (2.1.0-1)
Error: Sub-process /usr/bin/dpkg returned an error code (1)
End-Date: 2026-11-20  09:03:00

Start-Date: 2026-11-22  06:50:11
Commandline: /usr/bin/unattended-upgrade
Install: linux-image-6.1.0-56-amd64:amd64 (6.1.192-2, automatic)
Upgrade: libcuda1:amd64 (535.261.03-1, 535.309.01-0+deb12u1), perl:amd64 (5.36.0-7, 5.36.0-8)
Downgrade: nvidia-modprobe:amd64 (570.133.07-1, 535.309.01-0+deb12u1)
Reinstall: nvidia-smi:amd64 (535.309.01-0+deb12u1)
Remove: nvidia-driver:amd64 (535.261.03-1)
Purge: nvidia-alternative:amd64 (535.261.03-1), cuda-keyring:amd64 ()
End-Date: 2026-11-22  06:52:00

Start-Date: 2026-11-23  20:38:54
Commandline: apt full-upgrade
Upgrade: nvidia-kernel-dkms:amd64 (535.261.03-1, 535.309.01-0+deb12u1)
"""


def events_of(tmp_path: Path, files: dict[str, str | bytes]) -> tuple[PackageEvent, ...]:
    return facts_on(tmp_path, files).get(PackageHistory).events


def changes(events: tuple[PackageEvent, ...]) -> list[tuple[str, str, str, str]]:
    return [(event.action, event.package, event.old, event.new) for event in events]


def local(text: str) -> float:
    return time.mktime(time.strptime(text, "%Y-%m-%d %H:%M:%S"))
