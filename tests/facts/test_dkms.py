"""The DKMS tree as dkms leaves it after builds that went well, failed, or were interrupted."""

import random
from collections.abc import Mapping
from pathlib import Path

import pytest
from disk_trees import disk

from gpudoctor.facts.dkms import Dkms, DkmsBuild, DkmsSource
from gpudoctor.facts.packages import Package, Packages
from gpudoctor.host import Unavailable
from gpudoctor.machine import RootHost
from gpudoctor.registry import Facts, load_plugins

OLD, NEW = "6.1.0-50-amd64", "6.1.0-56-amd64"
TREE = "/var/lib/dkms/nvidia-current/535.309.01"
SOURCE: Mapping[str, str] = {
    f"{TREE}/source": "-> /usr/src/nvidia-current-535.309.01",
    "/usr/src/nvidia-current-535.309.01/dkms.conf": 'PACKAGE_NAME="nvidia-current"\n',
}


def _dkms(folder: Path, files: Mapping[str, str | bytes], *packages: str) -> Dkms:
    load_plugins()
    disk(folder, files)
    installed = [Package(name, "3.0.10-8", "all", "installed", False, "Debian") for name in packages]
    return Facts(RootHost(str(folder)), {Packages: Packages("dpkg", tuple(installed))}).get(Dkms)


def _source(folder: Path, files: Mapping[str, str | bytes]) -> DkmsSource:
    (source,) = _dkms(folder, {**SOURCE, **files}).sources
    return source


def test_no_dkms(tmp_path: Path) -> None:
    assert _dkms(tmp_path, {}) == Dkms(False, ())


def test_the_command_itself(tmp_path: Path) -> None:
    assert _dkms(tmp_path / "a", {}, "dkms").installed
    assert _dkms(tmp_path / "b", {"/usr/sbin/dkms": ""}).installed
    assert not _dkms(tmp_path / "c", SOURCE, "gcc").installed


def test_an_unknown_package_manager_does_not_matter(tmp_path: Path) -> None:
    disk(tmp_path, {**SOURCE, "/usr/bin/dkms": ""})
    found = Facts(RootHost(str(tmp_path)), {Packages: Unavailable("no database")}).get(Dkms)
    assert (found.installed, len(found.sources)) == (True, 1)


def test_registered_and_built_for_no_kernel(tmp_path: Path) -> None:
    assert _source(tmp_path, {}) == DkmsSource("nvidia-current", "535.309.01", True, ())


def test_a_source_whose_files_are_gone(tmp_path: Path) -> None:
    (source,) = _dkms(tmp_path, {f"{TREE}/source": "-> /usr/src/nvidia-current-535.309.01"}).sources
    assert not source.source_present


def test_builds_that_went_well(tmp_path: Path) -> None:
    found = _source(
        tmp_path,
        {
            f"{TREE}/{OLD}/x86_64/module/nvidia-current.ko": "",
            f"{TREE}/{OLD}/x86_64/log/make.log": "x.c:1:1: error: only printed\n",
            f"{TREE}/{NEW}/x86_64/module/nvidia-current.ko.xz": "",
            f"/var/lib/dkms/nvidia-current/kernel-{NEW}-x86_64": f"-> 535.309.01/{NEW}/x86_64",
        },
    )
    assert found.builds == (
        DkmsBuild(OLD, "built", f"{TREE}/{OLD}/x86_64/log/make.log", ()),
        DkmsBuild(NEW, "built", "", ()),
    )


def test_the_link_to_the_active_version_is_a_sign_of_a_build_too(tmp_path: Path) -> None:
    link = f"/var/lib/dkms/nvidia-current/kernel-{NEW}-x86_64"
    files = {f"{TREE}/{NEW}/x86_64/log/make.log": "", f"{TREE}/{NEW}/x86_64/module/": ""}
    found = _source(tmp_path / "this", {**files, link: f"-> 535.309.01/{NEW}/x86_64"})
    assert [build.state for build in found.builds] == ["built"]
    found = _source(tmp_path / "other", {**files, link: f"-> 535.261.03/{NEW}/x86_64"})
    assert [build.state for build in found.builds] == ["failed"]


def test_only_nvidias_sources_count_and_each_version_is_one(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "/var/lib/dkms/dkms_dbversion": "2.0.0\n",
        "/var/lib/dkms/mok.pub": b"\x30\x82",
        "/var/lib/dkms/zfs/2.2.2/source": "-> /usr/src/zfs-2.2.2",
        "/var/lib/dkms/nvidia/570.211.01/source": "-> /usr/src/nvidia-570.211.01",
        f"/var/lib/dkms/nvidia/580.95.05/{NEW}/x86_64/module/nvidia.ko": "",
        f"/var/lib/dkms/nvidia/kernel-{NEW}-x86_64": f"-> 580.95.05/{NEW}/x86_64",
    }
    found = [(source.module, source.version, len(source.builds)) for source in _dkms(tmp_path, files).sources]
    assert found == [("nvidia", "570.211.01", 0), ("nvidia", "580.95.05", 1)]


# What real builds write; the paths are shortened.
TOO_NEW = f"""DKMS make.log for nvidia-current-535.309.01 for kernel {NEW} (x86_64)
Mon Nov 23 20:26:13 UTC 2026
make KBUILD_OUTPUT=/lib/modules/{NEW}/build V=1 -C /lib/modules/{NEW}/source
test -e include/generated/autoconf.h || ( echo >&2 "  ERROR: Kernel configuration is invalid."; /bin/false)
   gcc-12 -Wp,-MMD,/var/lib/dkms/b/.nv.o.d -Werror=strict-prototypes -Wfatal-errors -c -o b/uvm_fatal.o b/uvm_fatal.c
b/nvidia/nv-procfs.c:689:1: warning: no previous prototype for 'exercise_error_forwarding_va' [-Wmissing-prototypes]
b/nvidia/os-mlock.c:23:12: error: implicit declaration of function 'follow_pfn'; did you mean 'folio_pfn'?
b/nvidia/os-mlock.c:23:12: error: implicit declaration of function 'follow_pfn'; did you mean 'folio_pfn'?
cc1: note: unrecognized command-line option '-Wno-unused' may have been intended to silence earlier diagnostics
make[4]: *** [/usr/src/linux-headers/scripts/Makefile.build:234: b/nvidia/os-mlock.o] Error 1
make[4]: *** Waiting for unfinished jobs....
make: *** [Makefile:80: modules] Error 2
"""
NO_ERRORS_IN_IT = TOO_NEW.partition("b/nvidia/os-mlock.c")[0]


def test_a_build_that_failed(tmp_path: Path) -> None:
    found = _source(tmp_path, {f"{TREE}/build/make.log": TOO_NEW})
    line = "b/nvidia/os-mlock.c:23:12: error: implicit declaration of function 'follow_pfn'; did you mean 'folio_pfn'?"
    errors = (
        line,
        "make[4]: *** [/usr/src/linux-headers/scripts/Makefile.build:234: b/nvidia/os-mlock.o] Error 1",
        "make: *** [Makefile:80: modules] Error 2",
    )
    assert found.builds == (DkmsBuild(NEW, "failed", f"{TREE}/build/make.log", errors),)


def test_a_build_that_was_interrupted_has_no_errors(tmp_path: Path) -> None:
    found = _source(tmp_path, {f"{TREE}/build/make.log": NO_ERRORS_IN_IT})
    assert [(build.kernel, build.state, build.errors) for build in found.builds] == [(NEW, "failed", ())]


@pytest.mark.parametrize(
    "line",
    [
        "gcc-11: error: unrecognized command-line option '-ftrivial-auto-var-init=zero'",
        "  You are using:           gcc-11 (Ubuntu 11.4.0-1ubuntu1~22.04) 11.4.0",
        "  The kernel was built by: x86_64-linux-gnu-gcc-12 (Ubuntu 12.3.0-1ubuntu1~22.04) 12.3.0",
        "Compiler version check failed:",
        "*** Failed CC version check. Bailing out! ***",
        "make[1]: *** [cc_version_check] Error 1",
        "ERROR: modpost: GPL-incompatible module nvidia.ko uses GPL-only symbol 'rcu_read_unlock_strict'",
        "b/common/inc/nv-linux.h:18:10: fatal error: linux/version.h: No such file or directory",
        "/bin/sh: 1: gcc-12: not found",
        "fatal error: error writing to /tmp/ccX.s: No space left on device",
        "*** Unable to determine the target kernel version. ***",
    ],
)
def test_errors_of_many_kinds(tmp_path: Path, line: str) -> None:
    found = _source(
        tmp_path, {f"{TREE}/build/make.log": f"{NO_ERRORS_IN_IT}{line}\nmake[2]: Leaving directory '/usr'\n"}
    )
    assert [build.errors for build in found.builds] == [(line.strip(),)]


def test_newer_dkms_writes_its_version_into_the_first_line(tmp_path: Path) -> None:
    log = f"DKMS (dkms-3.2.2) make.log for nvidia-current/535.309.01 for kernel {NEW} (x86_64)\nMon\nmake: *** x\n"
    found = _source(tmp_path, {f"{TREE}/build/make.log": log})
    assert [(build.kernel, build.errors) for build in found.builds] == [(NEW, ("make: *** x",))]


def test_at_most_ten_errors_each_cut(tmp_path: Path) -> None:
    lines = "".join(f"{number}.c: error: {'x' * 999}\n" for number in range(30))
    (build,) = _source(tmp_path, {f"{TREE}/build/make.log": TOO_NEW + lines}).builds
    assert len(build.errors) == 10
    assert build.errors[-1] == f"6.c: error: {'x' * 288}"


def test_a_long_log_is_known_by_its_first_and_last_lines(tmp_path: Path) -> None:
    log = NO_ERRORS_IN_IT + f"  gcc-12 {'-Wall ' * 50}\n" * 5000 + "b/nv.c:1:1: error: too few arguments\n"
    (build,) = _source(tmp_path, {f"{TREE}/build/make.log": log}).builds
    assert (build.kernel, build.errors) == (NEW, ("b/nv.c:1:1: error: too few arguments",))


def test_a_build_for_one_kernel_failed_and_another_went_well(tmp_path: Path) -> None:
    files = {f"{TREE}/{OLD}/x86_64/module/nvidia-current.ko": "", f"{TREE}/build/make.log": TOO_NEW}
    found = _source(tmp_path / "two", files)
    assert [(build.kernel, build.state) for build in found.builds] == [(OLD, "built"), (NEW, "failed")]
    files[f"{TREE}/{NEW}/x86_64/module/nvidia-current.ko"] = ""
    found = _source(tmp_path / "same", files)
    assert [(build.kernel, build.state) for build in found.builds] == [(OLD, "built"), (NEW, "built")]


def test_any_bytes_in_a_log_raise_nothing(tmp_path: Path) -> None:
    dice = random.Random(9)
    data = TOO_NEW.encode() + dice.randbytes(2000) + b"\nx.c: error: \xff\xfe\n"
    (build,) = _source(tmp_path / "a", {f"{TREE}/build/make.log": data}).builds
    assert build.errors[-1].startswith("x.c: error: ")
    (build,) = _source(tmp_path / "b", {f"{TREE}/build/make.log": dice.randbytes(5000)}).builds
    assert (build.kernel, build.state, build.errors) == ("", "failed", ())
    assert _source(tmp_path / "c", {f"{TREE}/build/": ""}).builds == ()
