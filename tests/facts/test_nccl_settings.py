"""What steers NCCL: variables, its two files, and the lists of interfaces that it takes."""

from pathlib import Path

import pytest
from disk_trees import disk

from gpudoctor.facts.environment import Environment
from gpudoctor.facts.nccl_settings import NcclSetting, NcclSettings, Networks, chosen
from gpudoctor.host import Unavailable
from gpudoctor.registry import Facts, load_plugins
from gpudoctor.testing import MachineTree

load_plugins()


def test_a_variable_comes_before_the_user_s_file_and_that_before_the_system_s(tmp_path: Path) -> None:
    host = disk(
        tmp_path,
        {
            "/home/ada/.nccl.conf": "NCCL_DEBUG=INFO\nNCCL_SOCKET_IFNAME=ib0\n",
            "/etc/nccl.conf": "# ours\n#NCCL_NET=IB\nNCCL_SOCKET_IFNAME=eth0\n\nNCCL_IB_HCA = mlx5_0,mlx5_1\n",
        },
    )
    variables = {"HOME": "/home/ada", "NCCL_DEBUG": "WARN", "LD_LIBRARY_PATH": "/x"}
    assert Facts(host).with_known(Environment(variables, ())).get(NcclSettings).settings == (
        NcclSetting("NCCL_DEBUG", "WARN", "environment"),
        NcclSetting("NCCL_SOCKET_IFNAME", "ib0", "/home/ada/.nccl.conf:2"),
        NcclSetting("NCCL_IB_HCA", "mlx5_0,mlx5_1", "/etc/nccl.conf:5"),
    )


def test_nothing_is_set(tmp_path: Path) -> None:
    assert Facts(disk(tmp_path, {})).with_known(Environment({}, ())).get(NcclSettings) == NcclSettings(())


def test_networks_of_a_running_machine(tmp_path: Path) -> None:
    disk(tmp_path, {f"/sys/class/{name}/": "" for name in ("net/eth0", "net/lo", "infiniband/mlx5_0")})
    disk(tmp_path, {"/sys/class/net/bonding_masters": ""})
    assert Facts(MachineTree(str(tmp_path))).get(Networks) == Networks(("eth0", "lo"), ("mlx5_0",))


def test_a_disk_has_no_networks(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        Facts(disk(tmp_path, {})).get(Networks)


@pytest.mark.parametrize(
    ("value", "left"),
    [
        ("eth", ("eth0", "eth1")),
        ("eth1,lo", ("eth1", "lo")),
        ("=eth", ()),
        ("=eth0", ("eth0",)),
        ("^docker,lo", ("eth0", "eth1")),
        ("^=eth0", ("eth1", "docker0", "lo")),
        ("^eth,docker,lo", ()),
        ("ib0", ()),
        ("eth0:1", ("eth0",)),
        ("", ("eth0", "eth1", "docker0", "lo")),
        (",", ("eth0", "eth1", "docker0", "lo")),
    ],
)
def test_lists_of_interfaces(value: str, left: tuple[str, ...]) -> None:
    assert chosen(value, ("eth0", "eth1", "docker0", "lo")) == left
