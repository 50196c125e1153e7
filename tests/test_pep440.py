"""Our reading of version numbers says what `packaging` says, and what PEP 440 gives as its examples."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion
from packaging.version import Version as TheirVersion

from gpudoctor.python.pep440 import Version, parse_version, satisfies

# In the order that PEP 440 gives, each equal to its other spellings.
ORDER = [
    ("1.dev0", "1.0.DEV", "1.0-dev0"),
    ("1.0.dev456", "v1.0dev456"),
    ("1.0a1.dev2",),
    ("1.0a1", "1.0-ALPHA.1", "1alpha1"),
    ("1.0a2.dev456",),
    ("1.0a12.dev456",),
    ("1.0a12",),
    ("1.0b1.dev456", "1.0_beta_1_dev_456"),
    ("1.0b2",),
    ("1.0b2.post345.dev456",),
    ("1.0b2.post345", "1.0b2-345", "1.0b2.r345"),
    ("1.0rc1.dev456",),
    ("1.0rc1", "1.0c1", "1.0-preview1"),
    ("1.0", "1", "1.0.0.0", " 1.0\n", "V1.0", "01.00"),
    ("1.0+abc.5",),
    ("1.0+abc.7", "1.0+ABC-07"),
    ("1.0+5", "1.0.0+05"),
    ("1.0.post456.dev34",),
    ("1.0.post456", "1.0-456", "1.0.rev456"),
    ("1.0.15",),
    ("1.1.dev1",),
    ("2.9.1+cu126",),
    ("13.0.3.0",),
    ("1!0.1",),
]
NO_VERSIONS = ["", "unknown", "1.0.", ".1", "1..0", "1.0+", "1.0+cu_", "1,0", "1.0 2", "١.٠", "1.0+ü", "2.0.poſt1"]  # noqa: RUF001

_number = st.sampled_from(["", "0", "1", "2", "07"])
_separator = st.sampled_from(["", ".", "-", "_"])
_part = st.sampled_from([""] * 3 + ["a", "b", "rc", "c", "alpha", "beta", "pre", "preview", "RC"])
_release = st.sampled_from(["0", "1", "1.0", "1.0.0", "1.1", "1.0.1", "2", "2.0", "10.3.9.90", "0.0", "v1", "1!1.0"])
_post = st.sampled_from(["", "", "", ".post", "-1", "post2", ".rev3", "-r", "_POST_1"])
_dev = st.sampled_from(["", "", "", ".dev0", "dev1", "-dev", ".DEV2"])
_local = st.sampled_from(["", "", "", "+cu126", "+CU.126", "+7", "+abc-1", "+1.abc"])


@st.composite
def _public(draw: st.DrawFn) -> str:
    letter = draw(_part)
    before = draw(_separator) + letter + draw(_separator) + draw(_number) if letter else ""
    return draw(_release) + before.rstrip("-._" if draw(st.booleans()) else "") + draw(_post) + draw(_dev)


_version = st.builds(str.__add__, _public(), _local)
_clause = st.one_of(
    st.builds("{}{}{}".format, st.sampled_from(["==", "!=", "== ", "==="]), _version, st.sampled_from(["", "", ".*"])),
    st.builds("{}{}".format, st.sampled_from(["==", "!="]), _release.map(lambda release: release + ".*")),
    st.builds("{}{}".format, st.sampled_from([">=", "<=", "<", ">", "~=", ">= ", "~= "]), _public()),
    st.builds("{}{}".format, st.sampled_from(["<", "~=", "", "=", "=>"]), _version),
)
_several = settings(derandomize=True, deadline=None, database=None, max_examples=150)


def _theirs(text: str) -> TheirVersion | None:
    try:
        return TheirVersion(text)
    except InvalidVersion:
        return None


@_several
@given(st.lists(_version, min_size=6, max_size=6))
def test_versions_are_ordered_as_packaging_orders_them(texts: list[str]) -> None:
    pairs = [(parse_version(text), _theirs(text)) for text in texts]
    for ours, theirs in pairs:
        assert (ours is None) == (theirs is None)
        if ours is None or theirs is None:
            continue
        assert (str(ours), ours.release, ours.local) == (str(theirs), theirs.release, theirs.local or "")
        assert ours.is_prerelease == theirs.is_prerelease
        for other, their_other in pairs:
            if other is not None and their_other is not None:
                assert (ours < other, ours == other, ours >= other) == (
                    theirs < their_other,
                    theirs == their_other,
                    theirs >= their_other,
                )
                assert ours != other or hash(ours) == hash(other)


@_several
@given(st.lists(_version, min_size=6, max_size=6), st.lists(_clause, min_size=6, max_size=6))
def test_specifiers_are_fulfilled_as_in_packaging(versions: list[str], clauses: list[str]) -> None:
    for clause in clauses:
        try:
            theirs = SpecifierSet(clause)
        except InvalidSpecifier:
            with pytest.raises(ValueError, match="is no version specifier"):
                satisfies("1.0", clause)
            continue
        for version in versions:
            if _theirs(version) is not None:
                expected = theirs.contains(version, prereleases=True)
                assert satisfies(version, clause) == expected, f"{version} {clause}"


def _parsed(text: str) -> Version:
    version = parse_version(text)
    assert version is not None, text
    return version


def test_the_order_of_pep_440() -> None:
    groups = [[_parsed(text) for text in spellings] for spellings in ORDER]
    for number, group in enumerate(groups):
        assert len(set(group)) == 1
        for later in groups[number + 1 :]:
            assert all(one < other for one in group for other in later)


@pytest.mark.parametrize("text", [*NO_VERSIONS, "1" * 5000, "1." * 5000 + "0"])
def test_what_is_no_version(text: str) -> None:
    assert parse_version(text) is None
    with pytest.raises(ValueError, match="is no version number"):
        satisfies(text, ">=1.0")
    assert satisfies(text, "")


@pytest.mark.parametrize(
    ("version", "specifiers", "fulfilled"),
    [
        ("2.9.1+cu126", "==2.9.1", True),
        ("2.9.1+cu126", "==2.9.1+cu128", False),
        ("2.9.1", "==2.9.1+cu126", False),
        ("2.9.1+cu126", "<=2.9.1", True),
        ("2.9.1+cu126", ">2.9.1", False),
        ("2.9.1+cu126", "!=2.9.1", False),
        ("2.10.0a0+git1234", ">=2.9,<2.10", False),  # a build from source on the way to 2.10
        ("2.10.0a0+git1234", ">=2.9", True),
        ("2.10.0rc1", "~=2.9", True),
        ("1.0a2.dev1", "<1.0a2", True),
        ("1.0a2", "<1.0a2", False),
        ("9.10.2.21", ">=9.3.0.75, <10.0", True),
        ("10.0", ">=9.3.0.75,<10.0", False),
        ("3.5.1", "~=3.5.0", True),
        ("3.6.0", "~=3.5.0", False),
        ("1.24.4", "==1.*", True),
        ("1", "==1.0.0.*", True),
        ("2.0.post1", ">2.0", False),
        ("2.0.post1", ">=2.0", True),
        ("2.0.1", ">2.0", True),
        ("1.7+Local", "===1.7+local", True),
        ("not a number", "===whatever", False),
        ("1.0", " >= 0.5 , , < 2 ,", True),
    ],
)
def test_installed_versions(version: str, specifiers: str, fulfilled: bool) -> None:
    assert satisfies(version, specifiers) is fulfilled


@pytest.mark.parametrize(
    "specifiers",
    [
        "1.0",
        ">=",
        "=1.0",
        "==",
        "===",
        ">=1.*",
        "<1.0+cu126",
        "~=1",
        "~=1.0.*",
        "==1.0rc1.*",
        "==1.0 .*",
        ">=1.0;",
        "^1.0",
    ],
)
def test_what_is_no_specifier(specifiers: str) -> None:
    # Also where the clause before it already says no.
    for text in (specifiers, f"<0.1,{specifiers}"):
        with pytest.raises(ValueError, match="is no version specifier"):
            satisfies("1.0", text)
