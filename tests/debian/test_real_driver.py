"""The founding failure with NVIDIA's own source of the module, which takes minutes to compile. On demand."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from debian_machines import (
    HEALTHY,
    VERSION,
    Kernels,
    Running,
    check,
    check_disk,
    fix,
    install_driver,
    module_of,
    upgrade,
)
from debian_roots import Root, remove

pytestmark = [pytest.mark.slow, pytest.mark.full]

PARTS = {
    "nvidia-current",
    "nvidia-current-drm",
    "nvidia-current-modeset",
    "nvidia-current-peermem",
    "nvidia-current-uvm",
}


@pytest.fixture
def real_driver(base: Root, kernels: Kernels, roots: Path) -> Iterator[Root]:
    root = base.copy(roots / "real-driver")
    install_driver(root, kernels, stand_in=False)
    yield root
    remove(root)


def test_a_kernel_without_headers_with_the_real_source(real_driver: Root, kernels: Kernels) -> None:
    running = Running(kernels.old)
    assert check(real_driver, running) == HEALTHY
    upgrade(real_driver)
    assert module_of(real_driver, kernels.new) == ""
    assert check(real_driver, running).found == ("kernel.headers-missing",)
    assert check_disk(real_driver, kernels.new).found == ("kernel.headers-missing",)

    done = fix(real_driver, running, "--yes")
    assert done.exit_code == 0, done.output
    told = module_of(real_driver, kernels.new)
    assert f"version:        {VERSION}" in told
    assert "license:        NVIDIA" in told
    folder = real_driver.inside(f"/lib/modules/{kernels.new}/updates/dkms")
    assert {file.name.partition(".")[0] for file in folder.iterdir()} == PARTS
    assert check(real_driver, running) == HEALTHY
    assert check_disk(real_driver, kernels.new) == HEALTHY
    assert fix(real_driver, running, "--yes").output == "Nothing to repair.\n"
