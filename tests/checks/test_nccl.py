"""Does a framework get the NCCL it was built with, and can NCCL start with the settings that are made here?"""

import re

import pytest
from cudnn_findings import SET, TORCH, VARIABLE, framework, nccl
from framework_environments import (
    H200,
    PREFIX,
    RTX_4090,
    SITE,
    distribution,
    gpus,
    tried,
)

from gpudoctor import Evidence, Finding, Severity
from gpudoctor.facts.environment import Environment
from gpudoctor.facts.framework_cudnn import FrameworkNccl, FrameworkNccls
from gpudoctor.facts.nccl_settings import NcclSetting, NcclSettings, Networks
from gpudoctor.findings import Outcome, Status
from gpudoctor.registry import load_plugins, registry
from gpudoctor.testing import outcome_of

SHADOWED, INIT = "nccl.shadowed", "nccl.init-failed"
OLD = "/opt/old/lib"


def shadowed(one: FrameworkNccl, *more: object) -> Outcome:
    return outcome_of(SHADOWED, FrameworkNccls((one,)), Environment({}, ()), *more)


def only(outcome: Outcome) -> Finding:
    (finding,) = outcome.findings
    return finding


def test_an_older_one_in_the_variable() -> None:
    found = only(shadowed(nccl(framework(TORCH), "2.18.3", OLD, VARIABLE), SET))
    assert found.summary == (
        f"torch 2.9.1 in {PREFIX} was built with NCCL 2.27.5 and would load the older 2.18.3 from {OLD} (by "
        "LD_LIBRARY_PATH)."
    )
    assert (found.severity, found.environment) == (Severity.ERROR, PREFIX)
    assert Evidence(f"{TORCH.folder}/METADATA", "nvidia-nccl-cu12==2.27.5") in found.evidence
    assert "Take /opt/old/lib out of LD_LIBRARY_PATH in /home/ada/.bashrc (line 12)" in found.remedy


def test_the_system_s_older_one_where_the_wheel_is_gone() -> None:
    found = only(shadowed(nccl(framework(TORCH), "2.18.3", "/usr/lib/x86_64-linux-gnu", "ld.so.cache")))
    assert f"`{PREFIX}/bin/python -m pip install nvidia-nccl-cu12==2.27.5`" in found.remedy


@pytest.mark.parametrize(
    ("version", "folder"),
    [
        ("2.27.3", OLD),  # a patch
        ("2.27.5", OLD),
        ("2.30.7", OLD),
        ("3.0.1", OLD),
        ("2.18.3", f"{SITE}/nvidia/nccl/lib"),  # the environment's own wheel: a broken pin
    ],
)
def test_what_serves(version: str, folder: str) -> None:
    assert shadowed(nccl(framework(TORCH), version, folder, VARIABLE)).status is Status.OK


def test_without_a_pin_nothing_is_older() -> None:
    conda = framework(distribution("torch", "2.9.1", installer="conda"))
    assert shadowed(nccl(conda, "2.18.3", "/opt/conda/lib", "RPATH of /x.so")).status is Status.OK


def test_an_unknown_version_is_said() -> None:
    outcome = shadowed(nccl(framework(TORCH), "", OLD, VARIABLE))
    assert (outcome.status, outcome.reason) == (Status.UNKNOWN, f"nothing tells the version of {OLD}/libnccl.so.2")


def test_a_file_that_could_not_be_read() -> None:
    outcome = outcome_of(SHADOWED, FrameworkNccls((), ((framework(TORCH), "x is damaged"),)), Environment({}, ()))
    assert (outcome.status, outcome.reason, outcome.matters) == (Status.UNKNOWN, "x is damaged", True)


def test_what_was_seen_to_work_is_fine() -> None:
    trial = tried()
    assert shadowed(nccl(framework(TORCH), "2.18.3", OLD, VARIABLE), trial).status is Status.OK


TWO = gpus(H200, H200)
HERE = Networks(("docker0", "eth0", "lo"), ("mlx5_0", "mlx5_1"))


def init(*settings: NcclSetting, here: Networks | None = HERE, cards: object = TWO) -> Outcome:
    return outcome_of(INIT, NcclSettings(settings), cards, *((here,) if here else ()))


def variable(name: str, value: str, source: str = "environment") -> NcclSetting:
    return NcclSetting(name, value, source)


def test_an_interface_that_is_not_here() -> None:
    found = only(init(variable("NCCL_SOCKET_IFNAME", "ib0,ens5")))
    assert found.summary == (
        "NCCL cannot start: NCCL_SOCKET_IFNAME is 'ib0,ens5', and no network interface here is called so (docker0, "
        "eth0, lo)."
    )
    assert found.severity is Severity.ERROR
    assert found.evidence[0] == Evidence("environment", "NCCL_SOCKET_IFNAME=ib0,ens5")
    assert found.remedy == "`unset NCCL_SOCKET_IFNAME`, or name one of these instead."


def test_a_single_gpu_seldom_needs_nccl() -> None:
    assert only(init(variable("NCCL_SOCKET_IFNAME", "ib0"), cards=gpus(RTX_4090))).severity is Severity.WARNING


def test_a_file_that_sets_it_for_everybody() -> None:
    found = only(init(variable("NCCL_SOCKET_IFNAME", "=ib0", "/etc/nccl.conf:3")))
    assert found.remedy.startswith("Take NCCL_SOCKET_IFNAME out of /etc/nccl.conf (line 3)")


def test_infiniband_that_is_not_here() -> None:
    found = only(init(variable("NCCL_NET", "ib"), here=Networks(("eth0",), ())))
    assert "NCCL_NET asks for InfiniBand" in found.summary


def test_an_adapter_that_is_not_here_costs_speed() -> None:
    found = only(init(variable("NCCL_IB_HCA", "mlx4_0")))
    assert found.severity is Severity.WARNING
    assert "NCCL_IB_HCA is 'mlx4_0', they are mlx5_0, mlx5_1" in found.summary


@pytest.mark.parametrize("name", ["NCCL_P2P_DISABLE", "NCCL_SHM_DISABLE", "NCCL_IB_DISABLE"])
def test_switches_that_cost_speed_are_good_to_know(name: str) -> None:
    found = only(init(variable(name, "1")))
    assert (found.severity, found.subject) == (Severity.INFO, name)
    assert f"`unset {name}`" in found.remedy
    assert init(variable(name, "0")).status is Status.OK
    assert init(variable(name, "1"), cards=gpus(H200)).status is Status.OK


@pytest.mark.parametrize(
    "setting",
    [
        variable("NCCL_SOCKET_IFNAME", "eth"),
        variable("NCCL_SOCKET_IFNAME", "^docker,lo"),
        variable("NCCL_SOCKET_IFNAME", ""),
        variable("NCCL_IB_HCA", "=mlx5_0:1"),
        variable("NCCL_NET", "IB"),
        variable("NCCL_NET", "Socket"),
        variable("NCCL_NET", "AWS Libfabric"),
        variable("NCCL_DEBUG", "INFO"),
    ],
)
def test_settings_that_fit(setting: NcclSetting) -> None:
    assert init(setting).status is Status.OK


def test_where_networks_are_unknown_only_a_setting_makes_it_so() -> None:
    outcome = init(variable("NCCL_SOCKET_IFNAME", "ib0"), here=None)
    assert (outcome.status, outcome.matters) == (Status.UNKNOWN, False)
    assert init(here=None).status is Status.OK


def test_without_a_gpu_it_does_not_apply() -> None:
    assert init(variable("NCCL_SOCKET_IFNAME", "ib0"), cards=gpus()).status is Status.SKIPPED


@pytest.mark.parametrize(
    ("message", "check"),
    [
        ("ImportError: libtorch_cuda.so: undefined symbol: ncclCommRegister", SHADOWED),
        ("node1:12:34 [0] misc/socket.cc:46 NCCL WARN Bootstrap : no socket interface found", INIT),
        ("torch.distributed.DistBackendError: NCCL error in: x.cpp:1, unhandled system error, NCCL version 2.27", INIT),
        ("ncclUnhandledCudaError: Call to CUDA function failed.", INIT),
    ],
)
def test_messages_that_users_see(message: str, check: str) -> None:
    load_plugins()
    assert any(re.search(pattern, message) for pattern in registry.checks[check].symptoms)
