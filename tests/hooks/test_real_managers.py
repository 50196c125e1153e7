"""The hooks in the real zypper, dnf (the fourth) and pacman, on imaginary machines; dnf5 is not to be had on Debian.

The driver's libraries move on while the old module is loaded: that breaks at once, until the next restart.
"""

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from disk_trees import ARCH, FEDORA, SUSE, disk
from layered_machines import Done, Layered, layered, merged_usr, need_gpudoctor
from live_machines import debian
from tiny_packages import build_rpm, call, need_tools

pytestmark = pytest.mark.slow

OLD, NEW = "580.82.07", "580.95.05"
OWN = (sys.executable, "-I", "-m", "gpudoctor")
MAKER = "Vendor: Example Vendor"


@contextmanager
def machine(folder: Path, system: str, program: str, files: Mapping[str, str]) -> Iterator[Layered]:
    """A machine of another distribution with a GPU, the old driver loaded; its packages lie in folder/machine/srv."""
    tree, place = folder / "machine", folder / "overlay"
    place.mkdir()
    merged_usr(tree)
    debian(tree, loaded=OLD, on_disk=OLD, user_space=OLD, packaged="", extra={"/etc/os-release": system})
    shutil.rmtree(tree / "var/lib/dpkg")
    disk(tree, files)
    with layered(tree, place, (program,)) as made:
        need_gpudoctor(made)
        made.do("rm", "-rf", "/var/lib/dpkg")
        yield made


def install(made: Layered, kind: str, *words: str) -> None:
    done = made.run(*OWN, "hook", kind, "--install", *words)
    assert (done.exit_code, done.stderr) == (0, ""), done


def told(text: str) -> list[str]:
    return [line for line in text.splitlines() if "gpudoctor: " in line and "Running" not in line]


RPM_DATABASE = {"/etc/rpm/macros.sqlite": "%_db_backend sqlite\n", "/var/lib/rpm/": ""}


def zypper(made: Layered, *words: str) -> Done:
    made.do("truncate", "--size=0", "/var/log/zypper.log")
    done = made.run("zypper", "--non-interactive", "--no-gpg-checks", *words)
    assert done.exit_code == 0, done
    return done


def plugin_said(made: Layered) -> str:
    """libzypp's log: the only place where the words of a plugin are sure to arrive."""
    log = made.read("/var/log/zypper.log") or ""
    return "\n".join(line.partition(" ! ")[2] for line in log.splitlines() if "PLUGIN" in line and " ! " in line)


def test_the_real_zypper_is_spoken_to_and_goes_on(tmp_path: Path) -> None:
    need_tools("zypper", "createrepo_c", "rpmbuild")
    for folder, name, version in (
        ("old", "nvidia-compute-G06", OLD),
        ("new", "nvidia-compute-G06", NEW),
        ("new", "bash", "5.2"),
    ):
        (tmp_path / "machine/srv" / folder).mkdir(parents=True, exist_ok=True)
        shutil.copy(build_rpm(tmp_path, (name, None, version, "1", MAKER, "")), tmp_path / "machine/srv" / folder)
    for folder in ("old", "new"):
        call("createrepo_c", "-q", str(tmp_path / "machine/srv" / folder), folder=tmp_path)
    with machine(tmp_path, SUSE, "zypper", RPM_DATABASE) as made:
        made.do("touch", "/var/log/zypper.log")
        install(made, "zypper")
        for folder in ("old", "new"):
            zypper(made, "addrepo", f"/srv/{folder}", folder)
        zypper(made, "install", "--from", "old", "nvidia-compute-G06")
        zypper(made, "install", "bash")
        assert plugin_said(made) == ""
        log = made.read("/var/log/zypper.log") or ""
        assert "send PluginFrame[COMMITEND]" in log
        assert "Bad plugin response" not in log

        done = zypper(made, "update")
        assert "nvidia-compute-G06" in done.stdout
        said = plugin_said(made)
        assert "gpudoctor: with this upgrade the GPU would not work from the upgrade on" in said
        assert "Bad plugin response" not in (made.read("/var/log/zypper.log") or "")
        there = made.do("rpm", "--dbpath=/var/lib/rpm", "-q", "nvidia-compute-G06")  # Debian's rpm looks elsewhere
        assert there.startswith(f"nvidia-compute-G06-{NEW}")

        # Without its interpreter the plugin ends at once.
        made.do("rm", sys.executable)
        zypper(made, "remove", "bash")


def dnf_plugin(folder: Path) -> dict[str, str]:
    """The real plugin, out of a package that cannot be installed beside zypper."""
    need_tools("apt-get", "dpkg-deb")
    words = ("apt-get", "-oAPT::Sandbox::User=root", "download", "dnf-plugins-core")
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"the package dnf-plugins-core cannot be had: {done.stderr.strip()}")
    (package,) = folder.glob("dnf-plugins-core_*.deb")
    call("dpkg-deb", "--extract", str(package), str(folder / "dnf-plugins-core"), folder=folder)
    home = folder / "dnf-plugins-core/usr/lib/python3/dist-packages"
    files = [home / "dnf-plugins/post-transaction-actions.py", *(home / "dnfpluginscore").glob("*.py")]
    texts = {f"/usr/lib/python3/dist-packages/{path.relative_to(home)}": path.read_text() for path in files}
    # It calls libdnf by a name that Debian's libdnf has no more.
    return {path: text.replace("ConfigParser_substitute", "ConfigParser.substitute") for path, text in texts.items()}


def test_the_real_dnf_runs_the_check_once_and_only_for_packages_that_matter(tmp_path: Path) -> None:
    need_tools("dnf", "rpmbuild")
    plugin = dnf_plugin(tmp_path)
    (tmp_path / "machine/srv").mkdir(parents=True)
    rpms = {
        name: shutil.copy(build_rpm(tmp_path, (name, None, OLD, "1.fc42", MAKER, "")), tmp_path / "machine/srv")
        for name in ("nvidia-driver-libs", "nvidia-settings", "bash")
    }
    with machine(tmp_path, FEDORA, "dnf", {**RPM_DATABASE, **plugin}) as made:
        install(made, "dnf")
        made.do("rm", "-f", "/usr/lib/x86_64-linux-gnu/libcuda.so.1")

        def dnf(*names: str) -> Done:
            words = ("-y", "--nogpgcheck", "--releasever=42", "--disablerepo=*", "install")
            done = made.run("dnf", *words, *(f"/srv/{Path(rpms[name]).name}" for name in names))
            assert done.exit_code == 0, done
            assert "Traceback" not in done.stderr, done.stderr
            return done

        assert told(dnf("bash").stderr) == []
        said = told(dnf("nvidia-driver-libs", "nvidia-settings").stderr)
        heads = [line for line in said if "after this upgrade (it may have been so before):" in line]
        assert len(heads) == 1
        assert "ERROR" in said[1]


def pacman_package(folder: Path, where: str, name: str, version: str) -> Path:
    content = folder / f"content-{where}-{name}"
    (content / "usr/share").mkdir(parents=True)
    (content / "usr/share" / name).write_text(version)
    (content / ".PKGINFO").write_text(f"pkgname = {name}\npkgver = {version}\narch = any\nsize = 1\n")
    target = folder / "machine/srv" / where / f"{name}-{version}-any.pkg.tar.gz"
    target.parent.mkdir(parents=True, exist_ok=True)
    call("bsdtar", "-czf", str(target), ".PKGINFO", "usr", folder=content)
    return target


def pacman_repository(folder: Path, packages: Mapping[str, Path]) -> None:
    """The database of a repository, by name and version: {"linux 6.16.10.arch1-1": file}."""
    database = folder / "database"
    for key, path in packages.items():
        name, version = key.split()
        data = path.read_bytes()
        fields = {
            "FILENAME": path.name,
            "NAME": name,
            "VERSION": version,
            "CSIZE": len(data),
            "ISIZE": 1,
            "SHA256SUM": hashlib.sha256(data).hexdigest(),
            "ARCH": "any",
        }
        (database / f"{name}-{version}").mkdir(parents=True)
        text = "".join(f"%{field}%\n{value}\n\n" for field, value in fields.items())
        (database / f"{name}-{version}" / "desc").write_text(text)
    target = next(iter(packages.values())).with_name("repo.db")
    call("bsdtar", "-czf", str(target), *(path.name for path in database.iterdir()), folder=database)


PACMAN = "[options]\nSigLevel = Never\nArchitecture = auto\n[repo]\nServer = file:///srv/repo\n"


@pytest.fixture
def arch(tmp_path: Path) -> Iterator[Layered]:
    need_tools("pacman", "bsdtar")
    there = {"nvidia-utils": f"{OLD}-1", "nvidia": f"{OLD}-1", "which": "1-1"}
    old = [pacman_package(tmp_path, "old", name, version) for name, version in there.items()]
    comes = {"nvidia-utils": f"{NEW}-1", "nvidia": f"{OLD}-1", "which": "2-1"}
    pacman_repository(
        tmp_path,
        {f"{name} {version}": pacman_package(tmp_path, "repo", name, version) for name, version in comes.items()},
    )
    files = {"/etc/pacman.conf": PACMAN, "/var/lib/pacman/": "", "/var/cache/pacman/pkg/": ""}
    with machine(tmp_path, ARCH, "pacman", files) as made:
        assert pacman(made, "-U", "-dd", *(f"/srv/old/{path.name}" for path in old)).exit_code == 0
        assert pacman(made, "-Sy").exit_code == 0
        yield made


def pacman(made: Layered, *words: str) -> Done:
    return made.run("pacman", "--noconfirm", *words)


def version_of(made: Layered, name: str) -> str:
    return made.do("pacman", "-Q", name).split()[1]


def test_the_real_pacman_lets_harmless_things_pass_without_a_word(arch: Layered) -> None:
    install(arch, "pacman", "--enforce")
    done = pacman(arch, "-S", "which")
    assert (done.exit_code, told(done.stdout)) == (0, [])
    assert version_of(arch, "which") == "2-1"
    done = pacman(arch, "-S", "nvidia")  # the same version once more
    assert (done.exit_code, [line for line in told(done.stdout) if "will the GPU work" not in line]) == (0, [])
    assert "will the GPU work afterwards?" in done.stdout


def test_the_real_pacman_is_warned_and_stopped_where_enforced(arch: Layered) -> None:
    install(arch, "pacman", "--enforce")
    done = pacman(arch, "-S", "nvidia-utils")
    assert done.exit_code != 0
    assert "gpudoctor: with this upgrade the GPU would not work from the upgrade on" in done.stdout
    assert "repeat the command with GPUDOCTOR_ENFORCE=false in its environment" in done.stdout
    assert version_of(arch, "nvidia-utils") == f"{OLD}-1"
    assert arch.read("/var/lib/gpudoctor/upgrade.json") is None

    done = arch.run("pacman", "--noconfirm", "-S", "nvidia-utils", environment={"GPUDOCTOR_ENFORCE": "false"})
    assert done.exit_code == 0
    assert "gpudoctor: with this upgrade the GPU would not work" in done.stdout
    assert version_of(arch, "nvidia-utils") == f"{NEW}-1"


def test_what_the_real_pacman_removes_is_known_to_go(arch: Layered) -> None:
    install(arch, "pacman")
    done = pacman(arch, "-R", "nvidia-utils")
    assert done.exit_code == 0
    assert "gpudoctor: with this upgrade the GPU would not" in done.stdout
    assert "nvidia-utils" in "\n".join(told(done.stdout))


@pytest.mark.parametrize("enforce", [[], ["--enforce"]], ids=["warning", "enforcing"])
def test_with_gpudoctor_gone_the_real_pacman_works(enforce: list[str], arch: Layered) -> None:
    install(arch, "pacman", *enforce)
    arch.do("rm", sys.executable)
    done = pacman(arch, "-S", "nvidia-utils")
    assert done.exit_code == 0, done
    assert version_of(arch, "nvidia-utils") == f"{NEW}-1"
