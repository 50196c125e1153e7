"""The four driver versions on whole running machines: each state has one cause, and the right remedy."""

from pathlib import Path

import pytest
from live_machines import BOOTED, KERNEL, NEW, OLD, UPGRADED, debian

from gpudoctor.cli.check import diagnose_with
from gpudoctor.facts.expected import ExpectedGpus
from gpudoctor.findings import Report, Severity
from gpudoctor.host import Host
from gpudoctor.registry import Facts, load_plugins, registry
from gpudoctor.repair import Plan, make_plan


def _diagnosed(host: Host) -> tuple[Report, Plan]:
    facts = Facts(host)
    report = diagnose_with(facts)
    load_plugins(fixes=True)
    return report, make_plan(report, registry.fixes.values(), facts)


def _red(report: Report) -> list[str]:
    return [ranked.check.id for ranked in report.findings if ranked.severity is Severity.ERROR]


def test_all_four_agree(tmp_path: Path) -> None:
    report, plan = _diagnosed(debian(tmp_path))
    assert [ranked.check.id for ranked in report.findings] == []
    assert plan.steps == ()


def test_upgraded_while_loaded_wants_a_reboot_or_reload_and_no_new_driver(tmp_path: Path) -> None:
    report, plan = _diagnosed(debian(tmp_path, loaded=OLD, built_at=UPGRADED, upgraded=True))
    assert _red(report) == ["driver.library-mismatch"]
    finding = report.findings[0].finding
    assert OLD in finding.summary
    assert NEW in finding.summary
    assert "unattended-upgrade" in " ".join(evidence.value for evidence in finding.evidence)
    assert "reboot" in finding.remedy.lower() or "restart" in finding.remedy.lower()
    assert "reload" in finding.remedy.lower()
    assert not any("install" in str(step.action).split() for step in plan.steps)
    assert {"reload-driver", "reboot"} & {chosen.fix.id for chosen in (*plan.chosen, *plan.alternatives)}


def test_library_and_module_on_disk_differ_is_a_stale_module(tmp_path: Path) -> None:
    report, plan = _diagnosed(debian(tmp_path, loaded=OLD, on_disk=OLD))
    assert _red(report)[0] == "kernel.module-stale"
    assert "driver.library-mismatch" not in _red(report)
    assert plan.steps


def test_an_old_copy_that_survives_the_reboot_is_stale_too(tmp_path: Path) -> None:
    """On disk all is new, since before the boot; what was loaded at boot is old: an old copy in the initramfs."""
    report, plan = _diagnosed(debian(tmp_path, loaded=OLD, built_at=BOOTED - 86_400))
    assert _red(report) == ["kernel.module-stale"]
    assert any("initramfs" in str(step.action) for step in plan.steps)


def test_no_module_anywhere_is_built(tmp_path: Path) -> None:
    report, plan = _diagnosed(debian(tmp_path, loaded="", on_disk="", driver=""))
    assert _red(report) == ["kernel.module-missing"]
    assert any(str(step.action) == f"dkms autoinstall -k {KERNEL}" for step in plan.steps)


def test_a_module_that_is_there_and_not_loaded_failed_to_load(tmp_path: Path) -> None:
    report, plan = _diagnosed(debian(tmp_path, loaded="", driver=""))
    assert _red(report) == ["kernel.module-not-loaded"]
    assert any("modprobe" in str(step.action) for step in plan.steps)


@pytest.mark.parametrize("driver", ["nouveau", "vfio-pci"])
def test_another_driver_holds_the_gpu(tmp_path: Path, driver: str) -> None:
    report, _ = _diagnosed(debian(tmp_path, loaded="", driver=driver))
    expected = "kernel.nouveau-bound" if driver == "nouveau" else "kernel.other-driver-bound"
    assert report.findings[0].check.id == expected
    assert "kernel.module-not-loaded" not in _red(report)


def test_nouveau_on_purpose_beside_a_library_that_something_else_brought(tmp_path: Path) -> None:
    host = debian(tmp_path, loaded="", on_disk="", packaged="", driver="nouveau")
    report, _ = _diagnosed(host)
    assert _red(report) == ["kernel.nouveau-bound", "kernel.module-missing"]
    assert "`gpudoctor check --expect-gpus 0` says so" in report.findings[0].finding.remedy
    meant = diagnose_with(Facts(host, {ExpectedGpus: ExpectedGpus(0)}))
    assert meant.exit_code == 0
    assert "kernel.nouveau-bound" in {ranked.check.id for ranked in meant.findings}, "it stays visible"
    one = diagnose_with(Facts(host, {ExpectedGpus: ExpectedGpus(1)}))
    assert one.exit_code == 2


def test_no_gpu_at_all(tmp_path: Path) -> None:
    report, _ = _diagnosed(debian(tmp_path, loaded="", on_disk="", user_space="", packaged="", gpus=0))
    assert _red(report) == ["pci.no-gpu"]
    assert report.exit_code == 2


def test_a_gpu_without_any_driver(tmp_path: Path) -> None:
    report, plan = _diagnosed(debian(tmp_path, loaded="", on_disk="", user_space="", packaged="", driver=""))
    assert _red(report) == ["driver.not-installed"]
    assert plan.steps
