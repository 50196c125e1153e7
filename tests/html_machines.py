"""A server that is sick in several ways at once, and whose hardware and users have chosen hostile names."""

import json
from pathlib import Path
from typing import Any

from driver_answers import NVML
from healthy_environments import active, machine
from python_trees import site_of, torch_wheel, venv, wheel

from gpudoctor import __version__
from gpudoctor.cli.check import diagnose_with
from gpudoctor.registry import Facts, load_plugins, registry
from gpudoctor.repair import make_plan
from gpudoctor.reports.machine import machine_summary
from gpudoctor.snapshot import RecordingHost, as_document

SCRIPT = "<script>alert(1)</script>"
QUOTES = "\"' onload=alert(2) x='"
CONTROLS = "\x1b[31m\x00\u202egnp.\x85\udcff</title></style><!--"
ADA = "/home/ada/train/.venv"
EVE = f"/home/ada/{QUOTES}<b>/.venv"


def sick_server(folder: Path) -> Path:
    """A snapshot of it. GPU 2 is lost, 1 and 3 have such names, and a torch has no CUDA."""
    ada, eve = site_of(ADA), site_of(EVE)
    host = machine(
        folder,
        venv(ADA, torch_wheel(ada, "2.9.1+cpu", None)),
        venv(EVE, wheel(eve, "cupy-cuda12x", "14.0.0"), wheel(eve, "cupy-cuda13x", "14.0.0")),
        active(ADA),
        {"/etc/os-release": f'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian {SCRIPT} {CONTROLS[:12]}"\n'},
        gpus=("H200",) * 4,
    )
    host.pythons = (ADA, EVE)
    recorder = RecordingHost(host)
    facts = Facts(recorder)
    report = diagnose_with(facts)
    load_plugins(fixes=True)
    make_plan(report, registry.fixes.values(), facts)
    machine_summary(facts)
    gpus = _gpus_of(recorder.answers)
    gpus[1]["name"] = SCRIPT
    gpus[2] |= {"return_code": 15, "return_name": NVML[15], "message": "GPU is lost"}
    gpus[3]["name"] = f"NVIDIA {CONTROLS} {QUOTES}"
    for number, gpu in enumerate(gpus):
        if number != 2:
            gpu |= {"temperature_c": 41 + number, "power_w": 118.4, "power_limit_w": 700.0, "utilization_percent": 0}
            gpu |= {"memory_used_bytes": 3 << 30, "pcie_link_generation": 5, "pcie_link_width": 16}
    snapshot = folder.parent / f"{folder.name}.json"
    snapshot.write_text(json.dumps(as_document(recorder.answers, __version__)))
    return snapshot


def _gpus_of(answers: dict[str, Any]) -> list[dict[str, Any]]:
    gpus: list[dict[str, Any]] = answers["probe nvml"]["answer"]["gpus"]
    return gpus
