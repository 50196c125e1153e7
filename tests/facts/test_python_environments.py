"""Where Python environments are found, and what is in them, from files alone."""

from pathlib import Path

import pytest
from disk_trees import disk
from python_trees import Files, interpreter, site_of, torch_wheel, venv, wheel

from gpudoctor.facts.answers import DriverAnswers
from gpudoctor.facts.processes import DeviceUsers, Holder
from gpudoctor.facts.python_environments import PythonEnvironment, PythonEnvironments
from gpudoctor.host import Host
from gpudoctor.machine import RootHost
from gpudoctor.registry import Facts, load_plugins
from gpudoctor.testing import MachineTree

NOBODY = DeviceUsers((), (), 0)
HOME = "/home/ada"
VENV = f"{HOME}/train/.venv"


def machine(folder: Path, files: Files, **variables: str) -> MachineTree:
    """A running machine whose user has these variables."""
    environ = "\0".join(f"{name}={value}" for name, value in {"HOME": HOME, **variables}.items())
    disk(folder, {"/proc/self/environ": environ + "\0", **files})
    return MachineTree(str(folder))


def found_on(host: Host, users: DeviceUsers = NOBODY) -> tuple[PythonEnvironment, ...]:
    load_plugins()
    return Facts(host, {DeviceUsers: users}).get(PythonEnvironments).environments


def the_one(host: Host) -> PythonEnvironment:
    (one,) = found_on(host)
    return one


def with_torch(prefix: str, **more: str) -> Files:
    return venv(prefix, torch_wheel(site_of(prefix), "2.9.1+cu128", "12.8"), **more)  # type: ignore[arg-type]


def test_the_active_environment(tmp_path: Path) -> None:
    one = the_one(machine(tmp_path, with_torch(VENV), VIRTUAL_ENV=VENV))
    assert (one.prefix, one.interpreter, one.version, one.full_version) == (
        VENV,
        f"{VENV}/bin/python",
        "3.11",
        "3.11.7",
    )
    assert (one.kind, one.found_by, one.in_use, one.machine, one.base) == (
        "venv",
        ("VIRTUAL_ENV",),
        True,
        "x86_64",
        "/usr/bin",
    )
    torch = one.get("torch")
    assert torch is not None
    assert (torch.version, torch.installer, torch.location) == ("2.9.1", "pip", site_of(VENV))
    assert one.problems == ()


def test_the_first_python_on_path(tmp_path: Path) -> None:
    files = {**with_torch(VENV), "/opt/none/": "", "/usr/bin/python3": "-> python3.11", f"{site_of('/usr')}/": ""}
    host = machine(tmp_path, files, PATH=f"/opt/none:{VENV}/bin:/usr/bin")
    first, second = found_on(host)
    assert (first.prefix, first.found_by, first.in_use) == (VENV, ("PATH",), True)
    assert (second.prefix, second.kind, second.in_use) == ("/usr", "system", False)


def test_the_folder_in_which_one_works(tmp_path: Path) -> None:
    host = machine(tmp_path, {**with_torch(VENV), "/proc/self/cwd": f"-> {HOME}/train"})
    assert the_one(host).found_by == ("this folder",)


def test_where_gpudoctor_itself_is_installed(tmp_path: Path) -> None:
    command = f"{VENV}/bin/python\0{VENV}/bin/gpudoctor\0check\0"
    one = the_one(machine(tmp_path, {**with_torch(VENV), "/proc/self/cmdline": command}))
    assert (one.found_by, one.in_use) == (("gpudoctor's own",), True)


def test_environments_that_compute_now(tmp_path: Path) -> None:
    host = machine(tmp_path, with_torch("/srv/job/env"))
    holder = Holder(4711, 1000, "python", ("/dev/nvidia0",), "/srv/job/env")
    (one,) = found_on(host, DeviceUsers((holder, holder), (), 0))
    assert (one.prefix, one.found_by, one.in_use) == ("/srv/job/env", ("process 4711",), True)


def conda(prefix: str) -> Files:
    return {
        f"{prefix}/conda-meta/history": "",
        f"{prefix}/conda-meta/python-3.12.4-h5148396_1.json": '{"name": "python"}',
        f"{prefix}/conda-meta/pytorch-2.5.1-cuda126_py312h0d5d3f0_206.json": '{"name": "pytorch"}',
        f"{prefix}/conda-meta/zlib-1.3-0.json": "not looked at",
        f"{prefix}/bin/python": interpreter(),
        f"{site_of(prefix, '3.12')}/": "",
        **wheel(site_of(prefix, "3.12"), "torch", "2.5.1", installer="conda"),
    }


def test_conda(tmp_path: Path) -> None:
    listed = "/data/envs/b"
    files = {
        **conda(f"{HOME}/miniconda3/envs/a"),
        **conda(listed),
        f"{HOME}/.conda/environments.txt": f"{listed}\n/gone\n",
    }
    host = machine(tmp_path, files, CONDA_PREFIX=f"{HOME}/miniconda3/envs/a")
    first, second = found_on(host)
    assert (first.prefix, first.kind, first.in_use, first.version, first.full_version) == (
        f"{HOME}/miniconda3/envs/a",
        "conda",
        True,
        "3.12",
        "3.12.4",
    )
    pytorch = first.conda_package("pytorch")
    assert pytorch is not None
    assert (pytorch.version, pytorch.build) == ("2.5.1", "cuda126_py312h0d5d3f0_206")
    assert first.conda_package("zlib") is None
    assert (second.prefix, second.in_use) == (listed, False)


def test_a_damaged_conda_record_is_named_and_hides_nothing(tmp_path: Path) -> None:
    prefix = "/opt/conda"
    files = conda(prefix)
    files[f"{prefix}/conda-meta/cudnn-9.1-0.json"] = '{"name": "cudnn", "files": ["lib/'
    files[f"{prefix}/conda-meta/strange.json"] = "{}"
    one = the_one(machine(tmp_path, files, CONDA_PREFIX=prefix))
    assert one.get("torch") is not None
    assert [problem.partition(":")[0] for problem in one.problems] == [
        f"{prefix}/conda-meta/cudnn-9.1-0.json",
        f"{prefix}/conda-meta/strange.json",
    ]


def test_pyenv_and_its_shims(tmp_path: Path) -> None:
    root = f"{HOME}/.pyenv"
    files: Files = {
        f"{root}/shims/python3": '#!/usr/bin/env bash\nexec pyenv exec python3 "$@"\n',
        f"{root}/version": "3.12.1\n",
        "/proc/self/cwd": f"-> {HOME}/train",
        f"{HOME}/train/": "",
        f"{HOME}/.python-version": "3.11\n",
    }
    for version in ("3.11.6", "3.11.7", "3.12.1"):
        prefix = f"{root}/versions/{version}"
        files |= {f"{prefix}/bin/python3": interpreter(), f"{site_of(prefix, version[:4])}/": ""}
    host = machine(tmp_path, files, PATH=f"{root}/shims:/usr/bin")
    assert [one.prefix.rpartition("/")[2] for one in found_on(host)] == ["3.11.7", "3.11.6", "3.12.1"]
    assert [one.in_use for one in found_on(host)] == [True, False, False]


def test_uv_leaves_pip_out_and_keeps_a_lock_file(tmp_path: Path) -> None:
    files = {**with_torch(VENV, uv=True), f"{HOME}/train/uv.lock": ""}  # type: ignore[arg-type]
    one = the_one(machine(tmp_path, files, VIRTUAL_ENV=VENV))
    assert (one.uv, one.lock_file, one.version) == (True, f"{HOME}/train/uv.lock", "3.11")


def system_python(**more: str | bytes) -> Files:
    return {
        "/usr/bin/python3": "-> python3.11",
        "/usr/bin/python3.11": interpreter(),
        "/usr/lib/python3.11/EXTERNALLY-MANAGED": "[externally-managed]\n",
        "/usr/lib/python3/dist-packages/": "",
        **more,
    }


def test_the_systems_own_python_sees_the_users_packages_too(tmp_path: Path) -> None:
    user, local = f"{HOME}/.local/lib/python3.11/site-packages", "/usr/local/lib/python3.11/dist-packages"
    files = {
        **system_python(),
        **torch_wheel(user, "2.9.1+cu128", "12.8"),
        **torch_wheel(local, "2.4.0+cu121", "12.1"),
        **wheel("/usr/lib/python3/dist-packages", "numpy", "1.24.2", installer="debian"),
    }
    one = the_one(machine(tmp_path, files, PATH="/usr/bin"))
    assert one.kind == "system"
    assert one.managed == "/usr/lib/python3.11/EXTERNALLY-MANAGED"
    assert [(d.name, d.version, d.location) for d in one.distributions] == [
        ("torch", "2.9.1", user),  # the user's comes first on the path
        ("numpy", "1.24.2", "/usr/lib/python3/dist-packages"),
    ]
    assert one.total == 3
    assert [(d.version, d.location) for d in one.shadowed] == [("2.4.0", local)]


def test_no_user_site_where_it_is_switched_off(tmp_path: Path) -> None:
    files = {**system_python(), **torch_wheel(f"{HOME}/.local/lib/python3.11/site-packages", "2.9.1", "12.8")}
    assert the_one(machine(tmp_path, files, PATH="/usr/bin", PYTHONNOUSERSITE="1")).get("torch") is None


def test_pythonpath_comes_first(tmp_path: Path) -> None:
    files = {**with_torch(VENV), **torch_wheel("/srv/extra", "2.0.0+cu117", "11.7")}
    torch = the_one(machine(tmp_path, files, VIRTUAL_ENV=VENV, PYTHONPATH="/srv/extra:relative")).get("torch")
    assert torch is not None
    assert torch.location == "/srv/extra"


def test_one_that_was_named_and_no_other(tmp_path: Path) -> None:
    host = machine(tmp_path, {**with_torch(VENV), **with_torch("/srv/other")}, VIRTUAL_ENV="/srv/other")
    for named in (VENV, f"{VENV}/", f"{VENV}/bin/python", f"{VENV}/bin/python3"):
        host.pythons = (named,)
        one = the_one(host)
        assert (one.prefix, one.found_by, one.in_use) == (VENV, ("--python",), True)


@pytest.mark.parametrize("damage", ["interpreter", "site-packages", "pyvenv"])
def test_a_dangling_environment_is_still_one(tmp_path: Path, damage: str) -> None:
    files = with_torch(VENV)
    match damage:
        case "interpreter":
            del files["/usr/bin/python3.11"]
        case "site-packages":
            files = venv(VENV)
        case "pyvenv":
            files[f"{VENV}/pyvenv.cfg"] = b"\xff\0garbage"
    one = the_one(machine(tmp_path, files, VIRTUAL_ENV=VENV))
    assert one.prefix == VENV
    assert one.version == "3.11"
    assert (one.interpreter == "") is (damage == "interpreter")


def test_on_a_mounted_disk_everybodys(tmp_path: Path) -> None:
    disk(tmp_path, {**system_python(), **conda("/home/eve/miniforge3"), **with_torch("/home/bob/.virtualenvs/x")})
    found = {one.prefix: one.in_use for one in found_on(RootHost(str(tmp_path)))}
    assert found == {"/usr": False, "/home/eve/miniforge3": False, "/home/bob/.virtualenvs/x": False}


def test_a_place_that_leads_in_circles(tmp_path: Path) -> None:
    files: Files = {f"{HOME}/.virtualenvs/x": "-> x", "/usr/bin/python3": "-> python", "/usr/bin/python": "-> python3"}
    assert found_on(machine(tmp_path, files, PATH="/usr/bin", VIRTUAL_ENV=f"{HOME}/.virtualenvs/x")) == ()


def test_processes_of_a_driver_that_was_not_asked_are_no_obstacle(tmp_path: Path) -> None:
    host = machine(tmp_path, with_torch(VENV), VIRTUAL_ENV=VENV)
    load_plugins()
    facts = Facts(host)
    assert DriverAnswers not in facts._answers
    assert facts.get(PythonEnvironments).environments[0].prefix == VENV
