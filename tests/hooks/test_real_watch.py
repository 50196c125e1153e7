"""The watch as root's own process on an imaginary machine: what it keeps, and what it hands to the mail program."""

import sys
from pathlib import Path

import pytest
from layered_machines import layered, merged_usr, need_gpudoctor
from live_machines import KERNEL, debian

pytestmark = pytest.mark.slow

OWN = (sys.executable, "-I", "-m", "gpudoctor")
MODULE = f"/usr/lib/modules/{KERNEL}/updates/dkms/nvidia-current.ko"


def test_root_is_written_to_when_something_changes(tmp_path: Path) -> None:
    tree, place = tmp_path / "machine", tmp_path / "overlay"
    place.mkdir()
    merged_usr(tree)
    debian(tree)
    with layered(tree, place, ()) as made:
        need_gpudoctor(made)
        made.write("/usr/sbin/sendmail", '#!/bin/sh\n{ echo "ARGUMENTS: $*"; cat; } >> /srv/mail\n', 0o755)
        made.do("mkdir", "-p", "/srv")
        done = made.run(*OWN, "hook", "cron", "--install", "--notify", "mail:root")
        assert done.exit_code == 0, done
        (line,) = (row for row in (made.read("/etc/cron.d/gpudoctor") or "").splitlines() if row.startswith("17 "))
        command = line.split(" root ")[1].split(" ")

        def watch() -> str:
            made.do("rm", "-f", "/srv/mail")
            done = made.run(*command)
            assert (done.exit_code, done.stdout, done.stderr) == (0, "", ""), done
            return made.read("/srv/mail") or ""

        watch()
        assert watch() == ""
        made.do("mv", MODULE, "/srv/module")
        mail = watch()
        assert mail.startswith("ARGUMENTS: -i root\nTo: root\nSubject: gpudoctor on ")
        assert "\n\nNew:\n" in mail
        assert KERNEL in mail
        assert watch() == ""
        made.do("mv", "/srv/module", MODULE)
        assert "\nGone:\n" in watch()
        assert made.do("stat", "-c", "%a %U %n", "/var/lib/gpudoctor", "/var/lib/gpudoctor/watch.json") == (
            "700 root /var/lib/gpudoctor\n600 root /var/lib/gpudoctor/watch.json\n"
        )
