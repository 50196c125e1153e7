"""Messages that frighten people: they are told so, and no cause is made of them."""

import pytest

from gpudoctor.triage.judge import triage


@pytest.mark.parametrize(
    "message",
    [
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 23.69 GiB",
        "I0000 cuda_executor.cc:1015] successful NUMA node read from SysFS had negative value (-1)",
        "E0000 cuda_dnn.cc:8310] Unable to register cuDNN factory: Attempting to register factory for plugin cuDNN",
        "W0000 utils.cc:38] TF-TRT Warning: Could not find TensorRT",
        "/sbin/ldconfig.real: /usr/lib/wsl/lib/libcuda.so.1 is not a symbolic link",
        "[    4.1] nvidia: module verification failed: signature and/or required key missing - tainting kernel",
        "[    4.0] nvidia: loading out-of-tree module taints kernel.",
        "misc dxg: dxgk: dxgkio_query_adapter_info: Ioctl failed: -22",
        "OSError: [Errno 28] No space left on device: '/data/last.pt'",
        "failed to register layer: write /usr/lib/x86_64-linux-gnu/libcudnn.so.9: no space left on device",
        "NVRM: Persistence mode is deprecated and will be removed in a future release. Please use",
        "NVRM: Failed to load gsp_log_*.bin, no GSP-RM logs will be printed (non-fatal)",
        "WARNING: infoROM is corrupted at gpu 0000:01:00.0",
        "nvidia-nvswitch3: SXid (PCI:0000:c1:00.0): 12028, Non-fatal, Link 29 egress non-posted PRIV error",
        'level=warning msg="Could not locate /nvidia_drv.so: pattern /nvidia_drv.so not found"',
    ],
)
def test_it_is_named_as_harmless_and_nothing_else(message: str) -> None:
    done = triage(f"first line\n{message}\n")
    assert [one.line for one in done.harmless] == [2]
    assert done.report.findings == ()
    assert done.report.exit_code == 0


def test_a_mac_has_no_cuda() -> None:
    message = "AssertionError: Torch not compiled with CUDA enabled"
    done = triage(f"macOS 15.1, Apple M3\ntorch.cuda.is_available() False\n{message}\n")
    assert [one.meaning.partition(":")[0] for one in done.harmless] == ["no Mac has CUDA"]
    assert done.report.findings == ()
    assert triage(f"Ubuntu 24.04\n{message}\n").report.findings[0].check.id == "torch.cpu-only"


def test_beside_a_fault_it_is_told_too() -> None:
    fault = "could not insert 'nvidia': Key was rejected by service"
    done = triage(f"TF-TRT Warning: Could not find TensorRT\nmodprobe: ERROR: {fault}")
    assert done.report.findings[0].check.id == "kernel.secure-boot-blocks-module"
    assert len(done.harmless) == 1
