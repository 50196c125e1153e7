# ruff: noqa: E501 (the lines are as they stand in METADATA)
"""Our reading of Requires-Dist says what `packaging` says, on lines that real wheels have."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.requirements import InvalidRequirement
from packaging.requirements import Requirement as TheirRequirement

from gpudoctor.python.pep508 import Requirement, applies, normalised, parse_requirement

LINES = """
nvidia-cuda-nvrtc-cu12==12.8.93; platform_system == "Linux"
nvidia-cudnn-cu12==9.10.2.21; platform_system == "Linux" and platform_machine == "x86_64"
triton==3.5.1; platform_system == "Linux"
typing-extensions>=4.10.0
networkx>=2.5.1
setuptools; python_version >= "3.12"
optree>=0.13.0; extra == "optree"
cuda-bindings<14,>=13.0.3; platform_system == "Linux"
cuda-toolkit[cublas,cudart,cufft]==13.0.2; platform_system == "Linux"
torch (==2.8.0)
pillow (!=8.3.*,>=5.3.0)
gdown (>=4.7.3) ; extra == 'gdown'
jaxlib<=0.4.35,>=0.4.34
numpy>=1.24
numpy>=1.26.0; python_version >= "3.12"
scipy>=1.11.1; python_version >= "3.12"
jax-cuda12-plugin[with-cuda]<=0.4.35,>=0.4.34; extra == "cuda12"
jaxlib==0.4.34; extra == "cuda12-local"
jax-cuda13-plugin[with_cuda]==0.7.2 ; extra == "with_cuda"
nvidia-cudnn-cu12<10.0,>=9.8; sys_platform == "linux" and extra == "with-cuda"
nvidia-cublas-cu12<13.0,>=12.5.3.2; extra == "and-cuda"
nvidia-nccl-cu12<3.0,>=2.27.7; extra == 'and_cuda'
tensorflow-io-gcs-filesystem>=0.23.1; python_version < "3.12"
tensorflow-io-gcs-filesystem (>=0.23.1) ; (platform_machine != "arm64" or platform_system != "Darwin") and python_version < "3.12"
tensorflow-intel==2.15.0; platform_system == "Windows"
tensorflow-cpu-aws (==2.15.0) ; platform_system == "Linux" and (platform_machine == "arm64" or platform_machine == "aarch64")
nvidia-cuda-nvrtc~=13.0; extra == "cuda"
nvidia-cudnn-cu13~=9.0; extra == "cudnn"
coloredlogs
protobuf
importlib-metadata >= 4.6; python_full_version < "3.10.2"
tomli; python_full_version <= "3.11.0a6" and extra == "toml"
async-timeout>=4.0.3; python_full_version < "3.11.3"
colorama; os_name == "nt"
librt>=0.16.0; platform_python_implementation != "PyPy"
greenlet!=0.4.17; python_version < "3.14" and (platform_machine == "aarch64" or (platform_machine == "ppc64le" or (platform_machine == "x86_64" or (platform_machine == "amd64"))))
tzdata>=2026.6 ; (sys_platform == 'emscripten' and extra == 'all') or (sys_platform == 'win32' and extra == 'all')
bitsandbytes>=0.42.0 ; sys_platform == "darwin"
xformers==0.0.33; platform_system == 'Linux' and platform_machine == 'x86_64'
pywin32; "win" in sys_platform and implementation_name == "cpython"
futures; python_version in "2.6 2.7 3.2"
enum34 ; python_version not in "3.9, 3.10, 3.11"
pyyaml; "3.10" <= python_version
old-style; os.name == 'posix' and sys.platform != 'win32' and python_implementation == 'CPython'
wildcard; python_version == "3.11.*" or python_version ~= "3.13"
no-order; platform_machine >= "x86_64" or platform_machine < "z"
no-version; python_version >= "3.6.*"
exact; python_full_version === "3.11.7"
all-of-it [ a , b_c ] >= 1.0 , < 2 ; extra=='A.B' or not_an_extra == "" and python_version>"3"
numba-cuda[cu12] @ https://example.org/numba_cuda-0.20.0-py3-none-any.whl ; extra == "cu12"
flash-attn@ git+https://example.org/flash-attention@v2.8.3
local-build==2.9.1+cu126
arbitrary===2024-01_special
""".strip().splitlines()
PYTHONS = ("3.9.25", "3.10.1", "3.11.0", "3.11.7", "3.12.4", "3.14.0")
EXTRAS = ("", "cuda12", "with-cuda", "And_CUDA", "gdown", "a-b", "toml", "all")


def _theirs(text: str) -> TheirRequirement | None:
    try:
        return TheirRequirement(text)
    except InvalidRequirement:
        return None


def _same(ours: Requirement | None, theirs: TheirRequirement | None, text: str) -> None:
    assert (ours is None) == (theirs is None), text
    if ours is not None and theirs is not None:
        assert ours.name == theirs.name
        assert set(ours.extras) == theirs.extras
        assert ours.url == (theirs.url or "")
        assert {"".join(clause.split()) for clause in ours.specifiers.split(",") if clause.strip()} == {
            str(clause) for clause in theirs.specifier
        }


@pytest.mark.parametrize("text", LINES)
def test_lines_of_real_wheels(text: str) -> None:
    ours, theirs = parse_requirement(text), _theirs(text)
    _same(ours, theirs, text)
    if ours is None or theirs is None:
        assert "not_an_extra" in text
        return
    for python in PYTHONS:
        for machine in ("x86_64", "aarch64"):
            for extra in EXTRAS:
                environment = _environment(python, machine, extra)
                expected = theirs.marker is None or theirs.marker.evaluate(environment)
                extras = (extra,) if extra else ()
                assert applies(ours, extras=extras, python=python, machine=machine) == expected, environment


def _environment(python: str, machine: str, extra: str) -> dict[str, str]:
    return {
        "python_version": python.rpartition(".")[0],
        "python_full_version": python,
        "implementation_name": "cpython",
        "implementation_version": python,
        "platform_python_implementation": "CPython",
        "platform_machine": machine,
        "platform_system": "Linux",
        "sys_platform": "linux",
        "os_name": "posix",
        "extra": extra,
    }


_some = settings(derandomize=True, deadline=None, database=None)
_comparison = st.one_of(
    st.builds(
        '{} {} "{}"'.format,
        st.sampled_from(["python_version", "python_full_version", "implementation_version"]),
        st.sampled_from(["<", "<=", "==", "!=", ">=", ">", "~=", "in", "not  in"]),
        st.sampled_from(["3.8", "3.11", "3.11.7", "3.11.*", "3.12.0rc1", "3.9, 3.11", "3", ""]),
    ),
    st.builds(
        "'{}' {} {}".format,
        st.sampled_from(["linux", "Linux", "x86_64", "test", "3.11", ""]),
        st.sampled_from(["<", "<=", "==", "!=", ">=", ">", "in"]),
        st.sampled_from(["sys_platform", "platform_system", "platform_machine", "python_version"]),
    ),
    st.builds(
        'extra {} "{}"'.format, st.sampled_from(["==", "!="]), st.sampled_from(["test", "TEST", "a_b", "A.B", "other"])
    ),
)
_markers = st.recursive(
    _comparison,
    lambda inside: st.one_of(
        st.builds("({})".format, inside),
        st.builds("{} {} {}".format, inside, st.sampled_from(["and", "or"]), inside),
    ),
    max_leaves=6,
)


@settings(_some, max_examples=400)
@given(_markers, st.sampled_from(["", "test", "a.b"]), st.sampled_from(["3.8.20", "3.11.7", "3.12.0"]))
def test_any_marker(marker: str, extra: str, python: str) -> None:
    ours, theirs = parse_requirement(f"a; {marker}"), _theirs(f"a; {marker}")
    assert ours is not None
    assert theirs is not None
    assert theirs.marker is not None
    expected = _answer(lambda: theirs.marker.evaluate(_environment(python, "x86_64", extra)))
    answer = _answer(lambda: applies(ours, extras=(extra,) if extra else (), python=python))
    # Where one side settles it, we do not stumble over a comparison without meaning on the other.
    assert answer == expected or expected == "no meaning"


def _answer(question: Callable[[], bool]) -> bool | str:
    try:
        return question()
    except ValueError:
        return "no meaning"


_CHARACTERS = " ;()[]@,=<>!~'\"*\0é\nab1.-_"
_damage = st.tuples(st.sampled_from(LINES), st.integers(0, 200), st.sampled_from(_CHARACTERS))


@settings(_some, max_examples=300)
@given(st.one_of(st.text(_CHARACTERS, max_size=20), _damage.map(lambda d: d[0][: d[1]] + d[2] + d[0][d[1] + 1 :])))
def test_damaged_lines_are_requirements_or_none(text: str) -> None:
    requirement, theirs = parse_requirement(text), _theirs(text)
    if theirs is not None:  # packaging minds a few more things, as control characters in quotes
        _same(requirement, theirs, text)
    if requirement is not None:
        assert _answer(lambda: applies(requirement, extras=("test",))) in (True, False, "no meaning")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-e .",
        "# comment",
        "_name",
        "name-",
        "name 1.0",
        "name >=",
        "name (>=1.0",
        "name[extra",
        "name[a b]",
        "name[,]",
        "name @",
        "name @ https://example.org/a.whl behind",
        "name; ",
        "name; python_version",
        'name; python_version >= "3',
        'name; python_version >= "3.8" and',
        'name; (python_version >= "3.8"',
        'name; python_version >= "3.8")',
        'name; python_version == "3.8" os_name == "nt"',
        'name; "3.8" == "3.8"',
        "name; os_name == sys_platform",
        'name; unheard_of == "x"',
        'name; python_version => "3.8"',
        "name; " + "(" * 5000 + 'os_name == "nt"' + ")" * 5000,
        "name; " + "(" * 100_000,
    ],
)
def test_what_is_no_requirement(text: str) -> None:
    assert parse_requirement(text) is None


def test_the_parts_of_a_requirement() -> None:
    assert parse_requirement(' Jax_CUDA12.plugin[with-cuda,b] (<=0.4.35,>=0.4.34) ; extra == "cuda12" ') == Requirement(
        "Jax_CUDA12.plugin", ("with-cuda", "b"), "<=0.4.35,>=0.4.34", 'extra == "cuda12"', ""
    )


def test_several_extras_and_none() -> None:
    requirement = parse_requirement('a; extra == "with_cuda"')
    assert requirement is not None
    assert not applies(requirement)
    assert not applies(requirement, extras=("cuda12",))
    assert applies(requirement, extras=("cuda12", "With.CUDA"))


@pytest.mark.parametrize(
    ("marker", "answer"),
    [
        ('python_full_version < "3.11.3"', None),
        ('python_full_version == "3.11.5"', None),
        ('python_full_version < "3.11.3" and extra == "x"', False),
        ('python_full_version < "3.11.3" or os_name == "posix"', True),
        ('python_full_version <= "3.11.0a6"', False),
        ('python_full_version >= "3.11.0"', True),
        ('python_full_version == "3.11.*"', True),
        ('python_full_version < "3.10.2"', False),
        ('platform_release >= "5.4"', None),
        ('platform_release >= "5.4" and sys_platform == "win32"', False),
        ('platform_version == "#1" or sys_platform == "linux"', True),
    ],
)
def test_what_is_not_known_of_the_machine(marker: str, answer: bool | None) -> None:
    requirement = parse_requirement(f"a; {marker}")
    assert requirement is not None
    if answer is None:
        with pytest.raises(ValueError, match="known"):
            applies(requirement, python="3.11")
    else:
        assert applies(requirement, python="3.11") is answer


def test_a_marker_that_nobody_parsed() -> None:
    with pytest.raises(ValueError, match='asks for "unheard_of"'):
        applies(Requirement("a", (), "", 'unheard_of == "x"', ""))


def test_names() -> None:
    for name in ("typing_extensions", "Typing.Extensions", "typing-_.extensions", "TYPING-EXTENSIONS"):
        assert normalised(name) == "typing-extensions"
