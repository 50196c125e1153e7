"""Settings of container engines and specifications of devices: what is read of real files, and of damaged ones."""

import pytest
from container_hosts import (
    CONTAINERD,
    CRIO,
    DAEMON_JSON,
    DROP_IN,
    HOST_CONFIG,
    LIBRARIES,
    NEW,
    NO_CGROUPS,
    NVIDIA_OF_CONTAINERD,
    TOOLKIT_TOML,
    cdi_json,
    cdi_yaml,
)

from gpudoctor.facts.cdi import read_specification
from gpudoctor.facts.container_toolkit import asks_for_gpu
from gpudoctor.facts.engine_settings import (
    containerd_settings,
    crio_settings,
    docker_context,
    docker_settings,
    is_engine_file,
    relevant_engine_settings,
    toml_keys,
    with_nvidia_runtime,
)
from gpudoctor.redaction.redact import redacted

RUNTIME = "/usr/bin/nvidia-container-runtime"


def test_containerd() -> None:
    plain, told = containerd_settings(CONTAINERD), containerd_settings(CONTAINERD + NVIDIA_OF_CONTAINERD)
    assert (plain.runtime, plain.default, plain.cdi, plain.damaged) == ("", "runc", False, "")
    assert plain.imports == ("/etc/containerd/conf.d/*.toml",)
    assert (told.runtime, told.damaged) == (RUNTIME, "")
    drop_in = containerd_settings(DROP_IN)
    assert (drop_in.runtime, drop_in.cdi) == (RUNTIME, True)
    switched_off = "version = 3\n[plugins.'io.containerd.cri.v1.runtime']\n  enable_cdi = false\n"
    assert not containerd_settings(switched_off).cdi


def test_crio() -> None:
    found = crio_settings(CRIO)
    assert (found.runtime, found.default) == (RUNTIME, "nvidia")
    assert crio_settings('[crio.runtime]\ndefault_runtime = "crun"\n').runtime == ""


def test_docker() -> None:
    found = docker_settings(DAEMON_JSON.replace('"log', '"default-runtime": "nvidia", "features": {"cdi": true}, "log'))
    assert (found.runtime, found.default, found.cdi) == ("nvidia-container-runtime", "nvidia", True)
    assert docker_settings("  \n").damaged == ""
    assert docker_settings('{"runtimes": [], "features": 1, "default-runtime": 5}') == docker_settings("{}")
    assert with_nvidia_runtime('{"runtimes": null}') == with_nvidia_runtime("")


def test_dockers_context() -> None:
    assert docker_context('{"auths": {}, "currentContext": "desktop-linux"}') == "desktop-linux"
    assert [docker_context(text) for text in ('{"currentContext": "default"}', "{}", "[]", "no JSON", "")] == [""] * 5


@pytest.mark.parametrize(("text", "value"), [(TOOLKIT_TOML, ""), (NO_CGROUPS, "true")])
def test_nvidias_toolkit(text: str, value: str) -> None:
    keys = toml_keys(text)
    assert (keys.ending("nvidia-container-cli", "no-cgroups"), keys.damaged) == (value, False)


def test_forms_of_toml() -> None:
    keys = toml_keys(
        'a = [\n  "x", # one\n  "y",\n]\n'
        'b.c = \'#no comment\'\n"d e" = 1 # two\n[[t.list]]\nf = """\nfree\n= text\n"""\n'
        'g = { h = 1,\n i = 2 }\n[ t . "u.v" ]\nw = true\n'
    )
    assert not keys.damaged
    assert keys.values[("a",)].split() == ["[", '"x",', '"y",', "]"]
    assert keys.values[("b", "c")] == "#no comment"
    assert keys.values[("d e",)] == "1"
    assert keys.values[("t", "u.v", "w")] == "true"


@pytest.mark.parametrize(
    "text", ["[open", "= 1", "a", "<xml/>", "a = ", "\0", "[a]]\nb", '[""', "a = [1,", "a = [\nb = 2\n]"]
)
def test_damaged_toml_is_told_from_none(text: str) -> None:
    assert toml_keys(text).damaged
    assert toml_keys("") == toml_keys("# a remark\n\n")


def test_a_specification_in_yaml() -> None:
    found = read_specification(cdi_yaml(NEW))
    assert (found.kind, found.version) == ("nvidia.com/gpu", NEW)
    assert found.devices == ("0", "GPU-5f7a3a0e-1111-2222-3333-444455556666", "all")
    assert found.files == (
        f"{LIBRARIES}/libcuda.so.{NEW}",
        f"{LIBRARIES}/libnvidia-ml.so.{NEW}",
        "/usr/bin/nvidia-cdi-hook",
    )
    assert found.nodes == ("/dev/nvidia0", "/dev/dri/card1", "/dev/nvidia-modeset", "/dev/nvidia-uvm", "/dev/nvidiactl")


def test_a_specification_in_json_whose_driver_lies_in_a_container() -> None:
    found = read_specification(cdi_json(NEW))
    assert (found.kind, found.version, found.devices) == ("k8s.device-plugin.nvidia.com/gpu", NEW, ("0",))
    assert found.nodes == ("/run/nvidia/driver/dev/nvidia0",)
    assert found.files[0].startswith("/run/nvidia/driver/usr/lib")


@pytest.mark.parametrize("text", ["", "[]", "{", '{"kind": 5}', "[" * 5000, "kind nvidia.com/gpu", "\udcff"])
def test_no_specification(text: str) -> None:
    assert read_specification(text).kind == ""


def test_containers_that_ask_for_a_gpu() -> None:
    assert asks_for_gpu(HOST_CONFIG) == "--gpus"
    assert asks_for_gpu('{"Runtime": "nvidia", "DeviceRequests": null}') == "--runtime=nvidia"
    others = ('{"Runtime": "runc", "DeviceRequests": [{"Capabilities": [["tpu"], 1]}, 5]}', "[]", "{", "", "[" * 5000)
    assert [asks_for_gpu(text) for text in others] == [""] * 5


FILES = {
    "/etc/containerd/config.toml": CONTAINERD + NVIDIA_OF_CONTAINERD,
    "/etc/containerd/conf.d/99-nvidia.toml": DROP_IN,
    "/etc/crio/crio.conf.d/99-nvidia.toml": CRIO,
    "/etc/nvidia-container-runtime/config.toml": NO_CGROUPS,
    "/etc/docker/daemon.json": DAEMON_JSON.replace("{", '{"proxies": {"http-proxy": "http://ada:secret-word@p:1"},', 1),
    "/home/ada/.docker/config.json": '{"auths": {"x": {"auth": "secret-word"}}, "currentContext": "desktop-linux"}',
    "/var/lib/docker/containers/01/hostconfig.json": HOST_CONFIG.replace("/home/ada/secret", "secret-word"),
}


@pytest.mark.parametrize("path", FILES)
@pytest.mark.parametrize("damage", ["", "not = [ toml\nnor json {", "<"])
def test_a_snapshot_keeps_what_is_judged_by_and_no_secret(path: str, damage: str) -> None:
    whole = FILES[path] + damage
    kept = relevant_engine_settings(whole, path)
    assert is_engine_file(path)
    assert "secret-word" not in kept
    assert "secret-word" not in str(redacted({f"read {path} first 1048576": whole}))
    for read in (containerd_settings, crio_settings, docker_settings, docker_context, asks_for_gpu):
        assert read(kept) == read(whole), read
    cgroups = [toml_keys(text).ending("nvidia-container-cli", "no-cgroups") for text in (kept, whole)]
    assert cgroups[0] == cgroups[1]
