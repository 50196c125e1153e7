"""The order of Debian's versions, as dpkg itself has it."""

import shutil
import subprocess
from itertools import combinations

import pytest

from gpudoctor.facts.package_order import dpkg_order

ASCENDING = (
    "1~",
    "1",
    "1a",
    "1+b1",
    "8.9.7.29-1+cuda11.8",
    "8.9.7.29-1+cuda12.2",
    "9.9.0.52-1",
    "9.10.2.21-1",
    "535.261.03-1~bpo12+1",
    "535.261.03-1~deb12u1",
    "535.261.03-1",
    "535.261.03-1+b1",
    "535.309.01-0+deb12u1",
    "580.95.05-0ubuntu0.24.04.1",
    "580.95.05-0ubuntu0.24.04.2",
    "580.95.05-0ubuntu0.24.04.10",
    "580.95.05-1ubuntu1",
    "1:0",
)


def test_each_is_newer_than_the_one_before():
    assert sorted(set(ASCENDING), key=dpkg_order) == list(ASCENDING)


def test_a_revision_that_is_not_there_is_0():
    assert dpkg_order("1") == dpkg_order("0:1-0")


@pytest.mark.skipif(shutil.which("dpkg") is None, reason="needs dpkg")
def test_dpkg_agrees():
    odd = ("1.0", "1.a", "1-a", "1+", "1--1", "1.2-3-1", "1.0-1", "12.4.131~12.4.1-2", "6.14.0-37.37~24.04.1+1")
    for one, other in combinations((*ASCENDING, *odd), 2):
        older = subprocess.run(("dpkg", "--compare-versions", one, "lt", other), check=False).returncode == 0
        assert (dpkg_order(one) < dpkg_order(other)) == older, (one, other)
