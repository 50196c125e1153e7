"""Monitoring programs themselves, where they are installed, fed with reports and with what the documentation shows."""

import os
import pwd
import re
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from command_line import GPUDOCTOR
from disk_trees import let_everybody_in
from documented import MACHINES, TREE
from prometheus_client.parser import text_string_to_metric_families

pytestmark = pytest.mark.slow

BROKEN, HEALTHY = MACHINES / "bookworm-kernel-upgraded-no-headers.json", MACHINES / "bookworm-healthy.json"


def written(machine: Path, file: Path) -> Path:
    """The textfile of a machine."""
    command = [*GPUDOCTOR, "check", "--snapshot", str(machine), "--format", "prometheus", "--output", str(file)]
    subprocess.run(command, capture_output=True, timeout=60, check=False)
    return file


def block(language: str, begin: str = "") -> str:
    """The one in this language that begins so."""
    recipes = (TREE / "docs/recipes.md").read_text("utf-8")
    (found,) = re.findall(rf"^```{language}\n({begin}.*?)^```$", recipes, re.DOTALL | re.MULTILINE)
    return str(found)


# --- Prometheus ---

promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="prometheus is not installed")


@promtool
@pytest.mark.parametrize("machine", [BROKEN, HEALTHY], ids=lambda machine: machine.stem)
def test_prometheus_has_nothing_against_the_metrics(machine: Path, tmp_path: Path) -> None:
    text = written(machine, tmp_path / "gpudoctor.prom").read_text()
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def series(file: Path) -> Iterator[dict[str, str]]:
    """The samples of a textfile as those of a node, hour after hour."""
    for family in text_string_to_metric_families(file.read_text()):
        for sample in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in {**sample.labels, "instance": "n1"}.items())
            yield {"series": f"{sample.name}{{{labels}}}", "values": f"{sample.value:g}x8"}
    yield {"series": 'node_textfile_mtime_seconds{file="/x/gpudoctor.prom",instance="n1"}', "values": "0 3600 3600x6"}


@promtool
@pytest.mark.parametrize(
    ("machine", "summaries"), [(BROKEN, ["n1: kernel.headers-missing 6.1.0-56-amd64"]), (HEALTHY, [])], ids=["1", "0"]
)
def test_the_rules_of_the_documentation_warn(machine: Path, summaries: list[str], tmp_path: Path) -> None:
    (tmp_path / "rules.yml").write_text(block("yaml"))
    found = {
        "id": "kernel.headers-missing",
        "subject": "6.1.0-56-amd64",
        "severity": "error",
        "acknowledged": "false",
    }
    alerts = [
        {"exp_labels": {**found, "instance": "n1"}, "exp_annotations": {"summary": summary}} for summary in summaries
    ]
    late = {
        "exp_labels": {"file": "/x/gpudoctor.prom", "instance": "n1"},
        "exp_annotations": {"summary": "n1: gpudoctor has written nothing for three hours"},
    }
    test = {
        "rule_files": ["rules.yml"],
        "tests": [
            {
                "interval": "1h",
                "input_series": [*series(written(machine, tmp_path / "gpudoctor.prom"))],
                "alert_rule_test": [
                    {"eval_time": "3h", "alertname": "GpuFinding", "exp_alerts": alerts},
                    {"eval_time": "3h", "alertname": "GpuNotLookedAt", "exp_alerts": []},
                    {"eval_time": "6h", "alertname": "GpuNotLookedAt", "exp_alerts": [late]},
                    {"eval_time": "6h", "alertname": "GpuCannotBeTold", "exp_alerts": []},
                ],
            }
        ],
    }
    (tmp_path / "test.yml").write_text(yaml.safe_dump(test))
    done = subprocess.run(
        ["promtool", "test", "rules", "test.yml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.skipif(shutil.which("prometheus-node-exporter") is None, reason="node_exporter is not installed")
def test_node_exporter_shows_what_was_written(tmp_path: Path) -> None:
    """As the user that it runs as, and over and over: each run puts another file in the place of the last one."""
    file = tmp_path / "gpudoctor.prom"
    written(HEALTHY, file)
    let_everybody_in(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    nobody = pwd.getpwnam("nobody")
    collectors = ("--collector.disable-defaults", "--collector.textfile", f"--collector.textfile.directory={tmp_path}")
    exporter = subprocess.Popen(
        ["prometheus-node-exporter", *collectors, f"--web.listen-address=127.0.0.1:{port}"],
        user=nobody.pw_uid,
        group=nobody.pw_gid,
        extra_groups=(),
        stderr=subprocess.DEVNULL,
    )
    try:
        for machine, status in ((HEALTHY, "ok"), (BROKEN, "error")):
            written(machine, file)
            metrics = scraped(port)
            assert "\nnode_textfile_scrape_error 0\n" in metrics
            assert f'\ngpudoctor_status{{status="{status}"}} 1\n' in metrics
    finally:
        exporter.kill()
        exporter.wait()


def scraped(port: int) -> str:
    until = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
                return str(answer.read().decode())
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)


# --- Nagios ---

OBJECTS = """
define timeperiod {{
    timeperiod_name always
    alias always
}}
define contact {{
    contact_name nobody
    host_notifications_enabled 0
    service_notifications_enabled 0
    host_notification_period always
    service_notification_period always
    host_notification_commands check_gpu
    service_notification_commands check_gpu
}}
define host {{
    host_name n1
    address 127.0.0.1
    max_check_attempts 1
    check_period always
    contacts nobody
}}
{services}
{command}
"""
SERVICE = """
define service {{
    host_name n1
    service_description {name}
    check_command check_gpu!{arguments}
    max_check_attempts 1
    check_interval 1
    retry_interval 1
    check_period always
    contacts nobody
}}
"""
# The periods are empty: only what is asked for on its command pipe is checked.
MAIN = """
cfg_file={folder}/objects.cfg
log_file={folder}/log
lock_file={folder}/lock
temp_file={folder}/temp
temp_path={folder}
object_cache_file={folder}/cache
status_file={folder}/status
state_retention_file={folder}/retention
check_result_path={folder}/results
command_file={folder}/commands
query_socket={folder}/socket
nagios_user={user}
nagios_group={group}
check_external_commands=1
process_performance_data=1
service_perfdata_file={folder}/perfdata
service_perfdata_file_template=$SERVICEDESC$|$SERVICESTATE$|$SERVICEOUTPUT$|$SERVICEPERFDATA$
service_perfdata_file_mode=a
"""


@pytest.mark.skipif(shutil.which("nagios4") is None, reason="nagios4-core is not installed")
def test_nagios_runs_the_command_of_the_documentation(tmp_path: Path) -> None:
    arguments = {"broken": f"--snapshot {BROKEN}", "healthy": f"--snapshot {HEALTHY}", "wrong": "--no-such-option"}
    command = (
        block("", "define command")
        .replace("/usr/local/bin/gpudoctor", " ".join(GPUDOCTOR))
        .replace("nagios\n", "nagios $ARG1$\n")
    )
    services = "".join(SERVICE.format(name=name, arguments=words) for name, words in arguments.items())
    (tmp_path / "objects.cfg").write_text(OBJECTS.format(services=services, command=command))
    (tmp_path / "nagios.cfg").write_text(MAIN.format(folder=tmp_path, user=os.geteuid(), group=os.getegid()))
    (tmp_path / "results").mkdir()
    checked = subprocess.run(
        ["nagios4", "-v", tmp_path / "nagios.cfg"], capture_output=True, text=True, timeout=60, check=False
    )
    assert "Total Errors:   0" in checked.stdout, checked.stdout
    perfdata = tmp_path / "perfdata"
    nagios = subprocess.Popen(["nagios4", tmp_path / "nagios.cfg"], stdout=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 90
        asked = False
        while not (perfdata.exists() and len(perfdata.read_text().splitlines()) >= 3) and time.monotonic() < until:
            if not asked and (tmp_path / "commands").exists():
                now = int(time.time())
                asks = (f"[{now}] SCHEDULE_FORCED_SVC_CHECK;n1;{name};{now}\n" for name in arguments)
                (tmp_path / "commands").write_text("".join(asks))
                asked = True
            time.sleep(0.2)
    finally:
        nagios.terminate()
        nagios.wait(60)
    lines = dict(line.split("|", 1) for line in perfdata.read_text().splitlines())
    assert lines["broken"].startswith("CRITICAL|GPU CRITICAL - kernel.headers-missing: The headers of kernel")
    assert "|errors=1;;0;0 warnings=0;0;;0 " in lines["broken"]
    assert lines["healthy"].startswith("OK|GPU OK - ")
    assert lines["wrong"] == "UNKNOWN|GPU UNKNOWN - No such option: --no-such-option|"
