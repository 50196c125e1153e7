"""JAX: its CUDA plugin, the versions that go together, and the libraries that are too old for it."""

import pytest
from framework_environments import (
    RTX_4090,
    SITE,
    V100,
    build,
    distribution,
    driver,
    environment,
    environments,
    gpus,
    use,
)

from gpudoctor import Severity
from gpudoctor.facts.conda import CondaPackage
from gpudoctor.facts.framework_libraries import FrameworkLibraries
from gpudoctor.facts.frameworks import FrameworkBuilds
from gpudoctor.facts.python_environments import PythonEnvironments
from gpudoctor.testing import outcome_of

NEW, OLD = driver("580.95.05", (13, 0)), driver("535.309.01", (12, 2))
WITH_CUDA = (
    "nvidia-cudnn-cu12<10.0,>=9.8; extra == 'with-cuda'",
    "nvidia-cusparse-cu12>=12.1.0.106; extra == 'with-cuda'",
)


def jax(version, *accepts):
    """jax with what its METADATA asks for; without, the table tells."""
    return distribution("jax", version, *accepts)


def installed(version, jaxlib="", plugin="", pjrt="", *, major=12, more=(), accepts=(), requires=()):
    members = [jax(version, *accepts), distribution("jaxlib", jaxlib or version)]
    members += [distribution(f"jax-cuda{major}-plugin", plugin, *requires)] if plugin else []
    members += [distribution(f"jax-cuda{major}-pjrt", pjrt or plugin)] if plugin and pjrt != "none" else []
    return environment(*members, *more)


def builds(where):
    plugins = [one for one in where.distributions if one.name == "jaxlib" or one.name.endswith("-plugin")]
    cuda = {one.name: (int(one.name[8:10]), 0) if one.name != "jaxlib" else None for one in plugins}
    return FrameworkBuilds(
        tuple(build("jax", one, cuda[one.name], where=where, cuda_minor_known=False) for one in plugins)
    )


def cpu_only(where, drivers=NEW, on=RTX_4090):
    return outcome_of("jax.cpu-only", gpus(on), builds(where), drivers)


def test_jaxlib_without_a_plugin():
    (finding,) = cpu_only(installed("0.7.2")).findings
    assert finding.severity is Severity.ERROR
    assert finding.summary == (
        "jaxlib 0.7.2 in /home/ada/venv has no CUDA plugin beside it, so JAX computes on the CPU."
    )
    assert finding.remedy == "Run `/home/ada/venv/bin/python -m pip install 'jax[cuda13]==0.7.2'`."


@pytest.mark.parametrize(
    ("drivers", "on", "wanted"),
    [
        (OLD, RTX_4090, "'jax[cuda12]==0.7.2'`"),
        (NEW, V100, "'jax[cuda12]==0.7.2' nvidia-cudnn-cu12==9.10.2.21`"),
        (driver("470.256.02", (11, 4)), RTX_4090, "gpudoctor recommend jax"),
    ],
    ids=["driver 535", "V100", "no plugin runs"],
)
def test_the_plugin_that_the_driver_and_the_gpu_run(drivers, on, wanted):
    (finding,) = cpu_only(installed("0.7.2"), drivers, on).findings
    assert wanted in finding.remedy


def test_the_plugin_that_goes_with_what_is_there():
    (finding,) = cpu_only(installed("0.7.2", more=(distribution("nvidia-cublas-cu12", "12.8.4.1"),))).findings
    assert "'jax[cuda12]==0.7.2'" in finding.remedy


def test_an_environment_that_nobody_means_now_may_be_for_the_cpu():
    (finding,) = cpu_only(installed("0.7.2")._replace(in_use=False)).findings
    assert finding.severity is Severity.INFO


def test_a_plugin_or_a_build_of_conda_s_is_enough():
    assert cpu_only(installed("0.7.2", plugin="0.7.2")).status.value == "ok"
    package = CondaPackage("jaxlib", "0.7.2", "cuda129py311h_0")
    assert cpu_only(installed("0.7.2")._replace(conda=(package,), kind="conda")).status.value == "ok"


def mismatch(where, *facts):
    return outcome_of("jax.plugin-mismatch", PythonEnvironments((where,)), *facts)


@pytest.mark.parametrize(
    ("where", "words", "wanted"),
    [
        (
            installed("0.6.2", plugin="0.5.3"),
            "jax-cuda12-plugin is 0.5.3, and jaxlib 0.6.2 takes only one of its own version",
            "'jax[cuda12]==0.6.2'`",
        ),
        (
            installed("0.9.2", "0.9.0.1", "0.9.2"),
            "jax-cuda12-plugin is 0.9.2, and jaxlib 0.9.0.1 takes only one of its own version",
            "'jax[cuda12]==0.9.2' jaxlib==0.9.2`",
        ),
        # What pip accepts, jaxlib does not.
        (
            installed("0.8.3", "0.8.2", "0.8.3"),
            "jax-cuda12-plugin is 0.8.3, and jaxlib 0.8.2 takes only one of its own version",
            "'jax[cuda12]==0.8.3' jaxlib==0.8.3`",
        ),
        (
            installed("0.6.2", plugin="0.6.2", pjrt="0.6.0"),
            "jax-cuda12-plugin is 0.6.2, and jax-cuda12-pjrt is 0.6.0",
            "'jax[cuda12]==0.6.2'`",
        ),
        (
            installed("0.6.2", plugin="0.6.2", pjrt="none"),
            "jax-cuda12-plugin 0.6.2 lacks jax-cuda12-pjrt",
            "'jax[cuda12]",
        ),
        (
            installed("0.4.30", "0.4.30", "0.4.29"),
            "jax-cuda12-plugin is 0.4.29, and jaxlib 0.4.30 takes only one of its own version",
            "'jax[cuda12]==0.4.30'`",
        ),
        (
            installed("0.6.0", "0.6.2"),
            "jaxlib is 0.6.2, and jax 0.6.0 asks for jaxlib<=0.6.0,>=0.6.0",
            "pip install jax==0.6.0`",
        ),
    ],
)
def test_versions_that_do_not_go_together(where, words, wanted):
    (finding,) = mismatch(where, gpus(RTX_4090), OLD).findings
    assert finding.severity is Severity.ERROR
    assert finding.summary == f"JAX in /home/ada/venv does not fit together: {words}."
    assert wanted in finding.remedy
    assert len(finding.evidence) == len(where.distributions)


def test_it_is_damage_also_without_a_gpu_and_where_nobody_means_it():
    (finding,) = mismatch(installed("0.6.2", plugin="0.5.3")._replace(in_use=False), gpus()).findings
    assert finding.severity is Severity.WARNING


@pytest.mark.parametrize(
    "where",
    [
        installed("0.6.2", plugin="0.6.2"),
        installed("0.4.30", plugin="0.4.30"),
        installed("0.99.0", plugin="0.99.0"),
        installed("0.8.3", "0.8.2"),
        installed("0.7.0.dev20250701", plugin="0.7.0.dev20250701"),
        environment(distribution("numpy", "2.0.0")),
    ],
    ids=["equal", "old and equal", "newer than the table", "for the CPU", "nightly", "no JAX"],
)
def test_versions_that_do(where):
    assert mismatch(where, gpus(RTX_4090), NEW).status.value == "ok"


def test_a_version_that_is_none_leaves_it_open():
    outcome = mismatch(installed("0.6.2", plugin="x"), gpus())
    assert (outcome.status.value, outcome.matters) == ("unknown", True)
    assert outcome.reason.endswith("jax_cuda12_plugin-x.dist-info tells no version")


def test_what_jax_s_own_metadata_asks_for_counts():
    asks = ("jaxlib<=0.6.2,>=0.6.0", "jaxlib==0.6.1; extra == 'ci'")
    assert mismatch(installed("0.6.2", "0.6.0", accepts=asks), gpus()).status.value == "ok"


def test_both_plugins_and_their_cudnn():
    more = (
        distribution("jax-cuda13-plugin", "0.7.2"),
        distribution("jax-cuda13-pjrt", "0.7.2"),
        distribution("nvidia-cudnn-cu12", "9.12.0.46"),
        distribution("nvidia-cudnn-cu13", "9.12.0.46"),
        distribution("nvidia-nccl-cu12", "2.27.5"),
    )
    where = environments(installed("0.7.2", plugin="0.7.2", more=more))
    (finding,) = outcome_of("jax.both-plugins", where, gpus(RTX_4090), OLD).findings
    assert finding.severity is Severity.WARNING
    assert finding.summary.startswith("jax-cuda12-plugin 0.7.2 and jax-cuda13-plugin 0.7.2 are both in")
    assert finding.remedy == (
        "Run `/home/ada/venv/bin/python -m pip uninstall -y jax-cuda13-plugin jax-cuda13-pjrt nvidia-cudnn-cu12 "
        "nvidia-cudnn-cu13`, then `/home/ada/venv/bin/python -m pip install 'jax[cuda12]==0.7.2'`."
    )
    torch = distribution("torch", "2.14.1", "nvidia-cudnn-cu13==9.12.0.46")
    where = environments(installed("0.7.2", plugin="0.7.2", more=(*more, torch)))
    (finding,) = outcome_of("jax.both-plugins", where, gpus(RTX_4090), OLD).findings
    assert "uninstall -y jax-cuda13-plugin jax-cuda13-pjrt`" in finding.remedy


def test_one_plugin_is_enough():
    assert outcome_of("jax.both-plugins", environments(installed("0.7.2", plugin="0.7.2"))).status.value == "ok"


def outdated(where, *uses, problems=()):
    known = (gpus(RTX_4090), builds(where), FrameworkLibraries(uses, problems), NEW)
    return outcome_of("jax.outdated-library", *known)


def plugin_with(*more):
    return installed("0.6.2", plugin="0.6.2", more=more, requires=WITH_CUDA)


WHEEL = f"{SITE}/nvidia/cudnn/lib/libcudnn.so.9"


def test_another_framework_pins_an_older_cudnn():
    where = plugin_with(distribution("nvidia-cudnn-cu12", "9.1.0.70"))
    (finding,) = outdated(where, use("jax", "libcudnn.so.9", WHEEL)).findings
    assert finding.severity is Severity.ERROR
    assert finding.summary == (
        "jax-cuda12-plugin 0.6.2 in /home/ada/venv asks for libcudnn.so.9 9.8 or later, and would load 9.1.0.70."
    )
    assert "'jax[cuda12]==0.6.2'" in finding.remedy


def test_an_older_one_stands_in_front_of_it():
    path = "/usr/local/cuda-12.0/lib64/libcusparse.so.12.0.0.76"
    where = plugin_with(distribution("nvidia-cusparse-cu12", "12.5.1.3"))
    (finding,) = outdated(where, use("jax", "libcusparse.so.12", path, by="LD_LIBRARY_PATH")).findings
    assert finding.evidence[0] == (path, "12.0.0.76, by LD_LIBRARY_PATH")
    assert finding.remedy.startswith("Take /usr/local/cuda-12.0/lib64 out of LD_LIBRARY_PATH")


@pytest.mark.parametrize("version", ["9.8.0.87", "9.10.2.21"])
def test_new_enough(version):
    where = plugin_with(distribution("nvidia-cudnn-cu12", version))
    assert outdated(where, use("jax", "libcudnn.so.9", WHEEL)).status.value == "ok"


def test_a_library_whose_version_nothing_tells_is_not_suspected():
    assert outdated(plugin_with(), use("jax", "libcudnn.so.9", "/opt/lib/libcudnn.so.9")).status.value == "ok"


def test_libraries_that_are_nowhere():
    (finding,) = outdated(plugin_with(), use("jax", "libcudart.so.12"), use("jax", "libcudnn.so.9")).findings
    assert "finds no libcudart.so.12 and 1 more" in finding.summary


def test_files_that_cannot_be_read_leave_it_open():
    outcome = outdated(plugin_with(), problems=(("/home/ada/venv", "xla_cuda_plugin.so: cut short"),))
    assert (outcome.status.value, outcome.reason) == ("unknown", "xla_cuda_plugin.so: cut short")
