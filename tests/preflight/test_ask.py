"""The package manager is asked what it would do: by which command, and what real dnf and pacman answer."""

import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from tiny_packages import build_rpm, call, need_tools

from gpudoctor.facts.package_manager import PackageManager
from gpudoctor.host import Completed
from gpudoctor.machine import RootHost
from gpudoctor.preflight.ask import ask, question_for
from gpudoctor.preflight.transaction import Change, NoTransaction

APT, DNF, PACMAN = (PackageManager(kind) for kind in ("apt", "dnf", "pacman"))


@pytest.mark.parametrize(
    ("manager", "command", "words"),
    [
        (APT, "", "apt-get -s dist-upgrade"),
        (APT, "upgrade", "apt-get -s upgrade"),
        (APT, "apt-get upgrade", "apt-get -s upgrade"),
        # What `apt upgrade` installs anew `apt-get upgrade` keeps back.
        (APT, "apt upgrade", "apt-get -s --with-new-pkgs upgrade"),
        (APT, "apt full-upgrade", "apt-get -s dist-upgrade"),
        (APT, "install nvidia-driver-580=580.95.05-0ubuntu1 dkms", None),
        (DNF, "", "dnf -C --assumeno upgrade"),
        (DNF, "dnf update kernel-core", "dnf -C --assumeno upgrade kernel-core"),
        (PACMAN, "", "pacman -Sup"),
        (PACMAN, "pacman -Syu linux-headers", "pacman -Sup linux-headers"),
        (PACMAN, "-S cuda", "pacman -Sp cuda"),
    ],
)
def test_the_command_that_only_plans(manager: PackageManager, command: str, words: str | None) -> None:
    question = question_for(manager, command)
    assert question.source == (words or "apt-get -s install nvidia-driver-580=580.95.05-0ubuntu1 dkms")
    # Nothing that could be carried out, refreshed or downloaded by it.
    marks = {"apt": "-s", "dnf": "--assumeno", "pacman": "--print-format"}
    assert marks[manager.kind] in question.argv
    assert not {"-y", "-Sy", "-Syu", "-Syup", "--refresh"} & {*question.argv}


@pytest.mark.parametrize(
    ("manager", "command", "word"),
    [
        (APT, "install bash;reboot", "'bash;reboot' is no name of a package"),
        (APT, "install -o=Dpkg::Pre-Invoke::=reboot", "is no name of a package"),
        (APT, "install a=$(id)", "is no name of a package"),
        (APT, "source bash", "'source' is no command of apt"),
        (APT, "-y dist-upgrade", "'-y' is no command of apt"),
        (DNF, "shell x", "'shell' is no command of dnf"),
        (PACMAN, "-R linux", "'-R' is no command of pacman"),
        (PackageManager("zypper"), "", "zypper is not asked by this version"),
        (PackageManager("", "Bazzite is changed through rpm-ostree"), "", "rpm-ostree; a plan made elsewhere"),
    ],
)
def test_commands_that_are_not_tried(manager: PackageManager, command: str, word: str) -> None:
    with pytest.raises(NoTransaction) as refusal:
        question_for(manager, command)
    assert word in str(refusal.value)


class Answering(RootHost):
    """Its package manager is really called, for a root of its own: `more` are the words that say which."""

    def __init__(self, root: Path, more: Sequence[str], said: Completed | None = None) -> None:
        super().__init__(str(root))
        self.more, self.said = more, said

    def run(self, argv: Sequence[str], *, timeout: float = 10.0) -> Completed | None:
        if self.said:
            return self.said
        words = [argv[0], *self.more, *argv[1:]]
        environment = {**os.environ, "LC_ALL": "C.UTF-8", "HOME": str(Path(self.root).parent)}
        done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False, timeout=60)
        return Completed(tuple(argv), done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize(
    ("manager", "said", "word"),
    [
        (
            APT,
            Completed((), 100, "Reading package lists...\n", "E: The package cache file is corrupted\n"),
            "corrupted",
        ),
        (APT, Completed((), 0, "", ""), "no simulation of apt"),
        (DNF, Completed((), 1, "", "Cache-only enabled but no cache for 'updates'\n"), "no cache for 'updates'"),
        (DNF, Completed((), 1, "", ""), "no answer of dnf"),
        (PACMAN, Completed((), 1, "", "error: failed to prepare transaction (no targets)\n"), "failed to prepare"),
    ],
)
def test_an_answer_that_is_no_plan(tmp_path: Path, manager: PackageManager, said: Completed, word: str) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "var/lib/pacman/sync/core.db").mkdir(parents=True)
    with pytest.raises(NoTransaction) as refusal:
        ask(Answering(tmp_path, (), said), manager, "", 10)
    assert word in str(refusal.value)


def test_pacman_that_has_nothing_to_do(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    host = Answering(tmp_path, (), Completed((), 0, "", ""))
    with pytest.raises(NoTransaction, match="no list of packages in /var/lib/pacman/sync"):
        ask(host, PACMAN, "", 10)
    (tmp_path / "var/lib/pacman/sync/core.db").mkdir(parents=True)
    assert ask(host, PACMAN, "", 10).changes == ()


VENDOR = "Vendor: Example Vendor"
KERNEL = f"{VENDOR}\nProvides: installonlypkg(kernel)"


@pytest.mark.slow
def test_the_real_dnf(tmp_path: Path) -> None:
    need_tools("dnf", "rpmbuild", "createrepo_c")
    old = [
        ("kernel-core", None, "6.16.9", "200.fc42", KERNEL, ""),
        ("xorg-x11-drv-nvidia-cuda-libs", 3, "580.82.09", "1.fc42", VENDOR, ""),
        ("nvidia-modprobe", 3, "580.82.09", "1.fc42", VENDOR, ""),
        ("kmod-nvidia", 3, "580.82.09", "1.fc42", VENDOR, ""),
    ]
    new = [
        ("kernel-core", None, "6.16.10", "200.fc42", KERNEL, ""),
        ("xorg-x11-drv-nvidia-cuda-libs", 3, "580.95.05", "1.fc42", VENDOR, "something-new"),
        ("something-new", None, "1", "1.fc42", f"{VENDOR}\nObsoletes: kmod-nvidia", ""),
        ("nvidia-modprobe", 3, "580.95.05", "1.fc42", VENDOR, "nowhere-to-be-had"),
    ]
    installed = [str(build_rpm(tmp_path, spec)) for spec in old]
    root, repository = tmp_path / "root", tmp_path / "repository"
    for folder in (root, repository, root / "etc/yum.repos.d"):
        folder.mkdir(parents=True)
    for spec in new:
        shutil.copy(build_rpm(tmp_path, spec), repository)
    call("createrepo_c", "-q", str(repository), folder=tmp_path)
    more = ("--nogpgcheck", f"--installroot={root}", "--releasever=42", f"--setopt=reposdir={root}/etc/yum.repos.d")
    call("dnf", "-y", *more, "--setopt=tsflags=justdb", "install", *installed, folder=tmp_path)
    with served(repository) as (address, asked_for):
        (root / "etc/yum.repos.d/tiny.repo").write_text(f"[tiny]\nname=tiny\nbaseurl={address}\nproxy=_none_\n")
        host = Answering(root, more)
        with pytest.raises(NoTransaction, match="dnf -C --assumeno upgrade: dnf has no list of packages of tiny here"):
            ask(host, DNF, "", 60)
        assert asked_for == [], "lists that are not here are not fetched"
        call("dnf", *more, "makecache", folder=tmp_path)
        assert asked_for
        asked_for.clear()
        plan = ask(host, DNF, "", 60)
        assert plan.source == "dnf -C --assumeno upgrade"
        assert {(one.name, one.old, one.new) for one in plan.changes} == {
            ("kernel-core", "", "6.16.10-200.fc42"),
            ("xorg-x11-drv-nvidia-cuda-libs", "", "3:580.95.05-1.fc42"),
            ("something-new", "", "1-1.fc42"),
            ("kmod-nvidia", "3:580.82.09-1.fc42", ""),
        }
        assert plan.kept_back == ("nvidia-modprobe",)
        assert ask(host, DNF, "install nvidia-modprobe-3:580.82.09", 60).changes == ()
        with pytest.raises(NoTransaction, match="nowhere-to-be-had"):
            ask(host, DNF, "install nowhere-to-be-had", 60)
        assert asked_for == []


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """The folder's files over HTTP: the address, and a list that fills with what was asked for."""
    asked_for: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *words: object) -> None:
            asked_for.append(self.path)

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", asked_for
        server.shutdown()


def pacman_database(path: Path, *packages: tuple[str, str, str]) -> None:
    """A repository's list; of each package name, version and further fields."""
    with tarfile.open(path, "w:gz") as archive:
        for name, version, more in packages:
            fields = {"FILENAME": f"{name}-{version}-any.pkg.tar.gz", "NAME": name, "VERSION": version, "ARCH": "any"}
            text = "".join(f"%{key}%\n{value}\n\n" for key, value in {**fields, "CSIZE": 1, "ISIZE": 1}.items()) + more
            entry = tarfile.TarInfo(f"{name}-{version}/desc")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))


@pytest.mark.slow
def test_the_real_pacman(tmp_path: Path) -> None:
    need_tools("pacman", "bsdtar")
    root, repository = tmp_path / "root", tmp_path / "repository"
    for folder in (root / "var/lib/pacman", root / "var/log", root / "cache", root / "etc", repository):
        folder.mkdir(parents=True)
    settings = f"[options]\nSigLevel = Never\nArchitecture = auto\n[tiny]\nServer = file://{repository}\n"
    (tmp_path / "pacman.conf").write_text(settings)
    more = ["--config", str(tmp_path / "pacman.conf"), "--root", str(root), "--dbpath", str(root / "var/lib/pacman")]
    more += ["--logfile", str(root / "var/log/pacman.log"), "--cachedir", str(root / "cache")]
    for name, version in (("linux", "6.16.9.arch1-1"), ("nvidia-utils", "580.82.09-1"), ("which", "1-1")):
        folder = tmp_path / name
        (folder / "usr").mkdir(parents=True)
        (folder / "usr" / name).write_text("x")
        (folder / ".PKGINFO").write_text(f"pkgname = {name}\npkgver = {version}\narch = any\nsize = 1\n")
        call("bsdtar", "-czf", str(tmp_path / f"{name}.pkg.tar.gz"), ".PKGINFO", "usr", folder=folder)
        install = ("-U", "-dd", "--noscriptlet", "--noconfirm", str(tmp_path / f"{name}.pkg.tar.gz"))
        call("pacman", *more, *install, folder=tmp_path)

    host = Answering(root, more)
    with pytest.raises(NoTransaction, match="no list of packages in /var/lib/pacman/sync"):
        ask(host, PACMAN, "", 60)
    utils = ("nvidia-utils", "580.95.05-1", "%DEPENDS%\negl-wayland\n\n")
    pacman_database(
        repository / "tiny.db",
        ("linux", "6.16.10.arch1-1", ""),
        utils,
        ("egl-wayland", "4-1", ""),
        ("which", "1-1", ""),
    )
    call("pacman", *more, "-Sy", folder=tmp_path)
    plan = ask(host, PACMAN, "", 60)
    assert {*plan.changes} == {
        Change("linux", "", "", "6.16.10.arch1-1"),
        Change("egl-wayland", "", "", "4-1"),
        Change("nvidia-utils", "", "", "580.95.05-1"),
    }
    with pytest.raises(NoTransaction, match="pacman cannot do this"):
        ask(host, PACMAN, "-S nowhere-to-be-had", 60)
