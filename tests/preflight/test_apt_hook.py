"""What apt tells its hooks, as it was recorded when a kernel was installed in a Debian root."""

import pytest

from gpudoctor.preflight.apt_hook import TooLittleSaid, parse_pre_install_pkgs
from gpudoctor.preflight.transaction import Change, NoTransaction

SETTINGS = """VERSION 3
APT::Architecture=amd64
DPkg::Pre-Install-Pkgs::=/usr/sbin/dpkg-preconfigure%20--apt%20||%20true
DPkg::Tools::Options::/usr/local/sbin/preinst-hook::Version=3
CommandLine::AsString=apt-get%20-y%20--no-install-recommends%20install%20linux-image-6.1.0-56-cloud-amd64
"""
CACHE = "/var/cache/apt/archives"
PACKAGES = f"""
linux-kbuild-6.1 6.1.176-1 amd64 foreign < 6.1.192-2 amd64 foreign {CACHE}/linux-kbuild-6.1_6.1.192-2_amd64.deb
linux-image-6.1.0-56-cloud-amd64 - - none < 6.1.192-2 amd64 none {CACHE}/linux-image-6.1.0-56-cloud-amd64.deb
libdevmapper1.02.1 - - none < 2:1.02.185-2 amd64 same {CACHE}/libdevmapper1.02.1_2%3a1.02.185-2_amd64.deb
nvidia-driver 535.261.03-1 amd64 none > - - none **REMOVE**
linux-kbuild-6.1 6.1.176-1 amd64 foreign < 6.1.192-2 amd64 foreign **CONFIGURE**
linux-image-6.1.0-56-cloud-amd64 - - none < 6.1.192-2 amd64 none **CONFIGURE**
libdevmapper1.02.1 - - none < 2:1.02.185-2 amd64 same **CONFIGURE**
"""
CHANGES = (
    Change("linux-kbuild-6.1", "amd64", "6.1.176-1", "6.1.192-2"),
    Change("linux-image-6.1.0-56-cloud-amd64", "amd64", "", "6.1.192-2"),
    Change("libdevmapper1.02.1", "amd64", "", "2:1.02.185-2"),
    Change("nvidia-driver", "amd64", "535.261.03-1", ""),
)


def test_version_3() -> None:
    said = parse_pre_install_pkgs(SETTINGS + PACKAGES)
    assert said.manager == "dpkg"
    assert said.changes == CHANGES
    assert said.kept_back == ()
    assert said.source == "apt: `apt-get -y --no-install-recommends install linux-image-6.1.0-56-cloud-amd64`"


def test_version_2() -> None:
    packages = f"""
linux-kbuild-6.1 6.1.176-1 < 6.1.192-2 {CACHE}/linux-kbuild-6.1_6.1.192-2_amd64.deb
linux-image-6.1.0-56-cloud-amd64 - < 6.1.192-2 {CACHE}/linux-image.deb
nvidia-driver 535.261.03-1 > - **REMOVE**
"""
    said = parse_pre_install_pkgs("VERSION 2\nAPT::Architecture=amd64\n" + packages)
    assert said.changes == tuple(
        change._replace(architecture="") for change in CHANGES if change.name != "libdevmapper1.02.1"
    )
    assert said.source == "apt"


def test_version_1_says_too_little() -> None:
    with pytest.raises(TooLittleSaid, match="names files only"):
        parse_pre_install_pkgs(f"{CACHE}/libcuda1_535.309.01-0_amd64.deb\n{CACHE}/nvidia-smi_535.309.01-0_amd64.deb\n")


def test_a_package_that_apt_takes_away_only_to_bring_it_back() -> None:
    lines = (
        "nvidia-smi 535.261.03-1 amd64 none < 535.309.01-0 amd64 none **REMOVE**\n"
        f"nvidia-smi 535.261.03-1 amd64 none < 535.309.01-0 amd64 none {CACHE}/nvidia-smi.deb\n"
    )
    said = parse_pre_install_pkgs(f"VERSION 3\n\n{lines}")
    assert said.changes == (Change("nvidia-smi", "amd64", "535.261.03-1", "535.309.01-0"),)


def test_no_packages_at_all() -> None:
    assert parse_pre_install_pkgs("VERSION 3\nA=1\n\n").changes == ()


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "begins with no VERSION"),
        ("hello\n", "begins with no VERSION"),
        ("VERSION 4\nA=1\n\n", "version '4'"),
        ("VERSION 3\nA=1\n", "cut short"),
        ("VERSION 3\n\nnvidia-smi 1 amd64\n", "a line that is none"),
        ("VERSION 3\n\nnvidia-smi 1 amd64 none ? 2 amd64 none /x.deb\n", "a line that is none"),
        ("VERSION 3\n\nnvidia-smi 1 amd64 none < 2 amd64 none sh\n", "no such action"),
        ("VERSION 3\n\n$(id) 1 amd64 none < 2 amd64 none /x.deb\n", "no name of a package"),
        ("VERSION 3\n\nnvidia-smi 1;id amd64 none < 2 amd64 none /x.deb\n", "no version of a package"),
        ("VERSION 3\n\nnvidia-smi 1 amd64 none < 2 a/b none /x.deb\n", "no architecture"),
    ],
)
def test_what_apt_does_not_say_is_refused(text: str, word: str) -> None:
    with pytest.raises(NoTransaction, match=word):
        parse_pre_install_pkgs(text)


def test_a_command_line_that_cannot_be_shown_is_not() -> None:
    said = parse_pre_install_pkgs("VERSION 3\nCommandLine::AsString=apt%0a%1b[31m\n\n")
    assert said.source == "apt"
