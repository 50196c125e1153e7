"""Is the cuDNN that a framework would load of one piece, new enough for it, and made for the GPU?"""

import re

import pytest
from cudnn_findings import JAX, SET, TENSORFLOW, TORCH, VARIABLE, WHEEL, cudnn, framework, part
from framework_environments import H200, PREFIX, RTX_4090, SITE, V100, distribution, driver, environment, gpu, gpus, use

from gpudoctor import Evidence, Finding, Severity, Unavailable
from gpudoctor.facts.cuda_level import ComputeGpu, ComputeGpus
from gpudoctor.facts.cudnn import CudnnFolder, CudnnLibraries
from gpudoctor.facts.deep import DeepTrials, FrameworkTrial
from gpudoctor.facts.distributions import Distribution
from gpudoctor.facts.environment import Environment
from gpudoctor.facts.framework_cudnn import BundledCudnn, BundledCudnns, FrameworkCudnn, FrameworkCudnns
from gpudoctor.facts.framework_libraries import FrameworkLibraries
from gpudoctor.facts.frameworks import FrameworkBuild, FrameworkBuilds
from gpudoctor.facts.packages import Package
from gpudoctor.facts.shared_libraries import Header, SharedLibrary
from gpudoctor.findings import Outcome, Status
from gpudoctor.registry import load_plugins, registry
from gpudoctor.testing import outcome_of

VERSION, MIX, MISSING = "cudnn.version-mismatch", "cudnn.sublibrary-mix", "cudnn.library-missing"
UNSUPPORTED, HEADER = "cudnn.gpu-unsupported", "cudnn.header-mismatch"
OLD = "/opt/old/lib"
NOTHING_SET = Environment({}, ())
WHEEL_9_10 = distribution("nvidia-cudnn-cu12", "9.10.2.21")
WHEEL_9_1 = distribution("nvidia-cudnn-cu12", "9.1.0.70")


def trial(build: FrameworkBuild, *, failure: str = "", at: str = "", devices: int = 1) -> DeepTrials:
    return DeepTrials((FrameworkTrial(build.framework, "", devices, failure, at, (), {}, PREFIX),))


def judged(
    check: str, *cudnns: FrameworkCudnn, here: ComputeGpus | Unavailable | None = None, more: tuple[object, ...] = ()
) -> Outcome:
    known = [FrameworkCudnns(cudnns), here or gpus(RTX_4090), driver("580.95.05", (13, 0)), NOTHING_SET, *more]
    return outcome_of(check, *(fact for fact in known if not isinstance(fact, Unavailable)))


def only(outcome: Outcome) -> Finding:
    (finding,) = outcome.findings
    return finding


class TestVersionMismatch:
    def test_an_older_one_in_the_variable(self) -> None:
        one = cudnn(
            framework(TORCH, WHEEL_9_10), part("graph", "9.1.0", OLD, VARIABLE), part("ops", "9.1.0", OLD, VARIABLE)
        )
        found = only(judged(VERSION, one, more=(SET,)))
        assert found.summary == (
            "torch 2.9.1 in /home/ada/venv was built with cuDNN 9.10.2 and would load 9.1.0 from /opt/old/lib (by "
            "LD_LIBRARY_PATH)."
        )
        assert (found.severity, found.subject, found.environment) == (Severity.ERROR, "torch 2.9.1", PREFIX)
        assert found.evidence[-1] == Evidence(f"{TORCH.folder}/METADATA", "nvidia-cudnn-cu12==9.10.2.21")
        assert "Take /opt/old/lib out of LD_LIBRARY_PATH in /home/ada/.bashrc (line 12)" in found.remedy
        assert "pip" not in found.remedy

    def test_an_older_wheel_over_the_pin(self) -> None:
        one = cudnn(framework(TORCH, WHEEL_9_1), part("graph", "9.1.0"))
        found = only(judged(VERSION, one))
        assert found.summary.endswith(f"and would load 9.1.0 from {WHEEL}.")
        assert Evidence(f"{SITE}/nvidia/cudnn/include/cudnn_version.h", "cuDNN 9.1.0") in found.evidence
        assert f"`{PREFIX}/bin/python -m pip install nvidia-cudnn-cu12==9.10.2.21`" in found.remedy

    @pytest.mark.parametrize("version", ["9.10.2", "9.10.0", "9.11.1", "9.28.0", "9.10.2.21"])
    def test_the_same_or_a_newer_one_is_fine(self, version: str) -> None:
        assert judged(VERSION, cudnn(framework(TORCH), part("graph", version))).status is Status.OK

    @pytest.mark.parametrize(
        ("found", "running", "status"),
        [
            (JAX, "9.8.0", Status.OK),
            (JAX, "9.7.1", Status.FOUND),
            (TENSORFLOW, "9.3.0", Status.OK),
            (TENSORFLOW, "9.2.1", Status.FOUND),
            (distribution("onnxruntime-gpu", "1.22.0", "nvidia-cudnn-cu12~=9.0"), "8.9.7", Status.OK),
            (distribution("torch", "2.9.1"), "8.9.7", Status.OK),  # conda's: nothing tells what it was built with
        ],
    )
    def test_what_each_framework_asks_for(self, found: Distribution, running: str, status: Status) -> None:
        assert judged(VERSION, cudnn(framework(found), part("graph", running))).status is status

    def test_a_range_is_asked_for_as_the_framework_does(self) -> None:
        found = only(judged(VERSION, cudnn(framework(JAX, WHEEL_9_1), part("graph", "9.1.0")), here=gpus(H200)))
        assert "nvidia-cudnn-cu12==9." in found.remedy
        volta = only(judged(VERSION, cudnn(framework(JAX, WHEEL_9_1), part("graph", "9.1.0")), here=gpus(V100)))
        assert "nvidia-cudnn-cu12==9.10.2.21" in volta.remedy  # a newer one would not serve it

    def test_tensorflow_without_a_pin_goes_by_the_table(self) -> None:
        bare = framework(distribution("tensorflow", "2.17.0"), cudnn="8")
        found = only(judged(VERSION, cudnn(bare, part("graph", "8.6.0"))))
        assert "was built with cuDNN 8.9" in found.summary
        assert "table of TensorFlow 2.17.0" in found.evidence[-1].source

    def test_another_major_version(self) -> None:
        one = cudnn(framework(TORCH), main=part("", "8.9.7", "/usr/lib", "ld.so.cache", 8))
        assert "would load 8.9.7 from /usr/lib (by ld.so.cache)" in only(judged(VERSION, one)).summary

    def test_what_was_seen_to_work_is_fine(self) -> None:
        build = framework(TORCH)
        one = cudnn(build, part("graph", "9.1.0"))
        assert judged(VERSION, one, more=(trial(build),)).status is Status.OK
        assert (
            judged(VERSION, one, more=(trial(build, failure="cuDNN version incompatibility"),)).status is Status.FOUND
        )

    def test_an_unknown_version_is_said(self) -> None:
        outcome = judged(VERSION, cudnn(framework(TORCH), part("graph", "")))
        assert (outcome.status, outcome.matters) == (Status.UNKNOWN, True)
        assert f"nothing tells the version of {WHEEL}/libcudnn_graph.so.9" in outcome.reason
        assert not judged(VERSION, cudnn(framework(TORCH, in_use=False), part("graph", ""))).matters

    def test_what_could_not_be_read_hides_no_other_environment(self) -> None:
        known = FrameworkCudnns((cudnn(framework(TORCH), part("graph", "9.1.0")),), ((framework(JAX), "x is damaged"),))
        outcome = outcome_of(VERSION, known, gpus(RTX_4090), NOTHING_SET)
        assert (outcome.status, len(outcome.findings), outcome.reason) == (Status.FOUND, 1, "x is damaged")

    def test_where_nobody_computes_it_is_a_warning(self) -> None:
        one = cudnn(framework(TORCH), part("graph", "9.1.0"))
        assert only(judged(VERSION, one, here=gpus())).severity is Severity.WARNING
        idle = cudnn(framework(TORCH, in_use=False), part("graph", "9.1.0"))
        assert only(judged(VERSION, idle)).severity is Severity.WARNING


class TestSublibraryMix:
    ODD = (part("graph", "9.10.2"), part("ops", "9.6.0", OLD, VARIABLE), part("cnn", "9.10.2"))

    def test_one_part_of_another_release(self) -> None:
        found = only(judged(MIX, cudnn(framework(TORCH), *self.ODD), more=(SET,)))
        assert found.summary == (
            f"torch 2.9.1 in {PREFIX} would load parts of several cuDNN releases: libcudnn_ops 9.6.0 from {OLD}, "
            f"libcudnn_graph 9.10.2 from {WHEEL}."
        )
        assert found.severity is Severity.ERROR
        assert (
            Evidence(f"{OLD}/libcudnn_ops.so.9", f"{OLD}/libcudnn_ops.so.9.6.0 (by LD_LIBRARY_PATH)") in found.evidence
        )
        assert "Take /opt/old/lib out of LD_LIBRARY_PATH" in found.remedy
        assert judged(VERSION, cudnn(framework(TORCH), *self.ODD)).status is Status.OK  # said once

    def test_a_whole_other_release_is_no_mixture(self) -> None:
        """As tried with cuDNN 9.6 and 9.12: the main library passes calls on, whatever its version."""
        parts = tuple(part(name, "9.12.0", OLD, VARIABLE) for name in ("graph", "ops", "cnn"))
        assert judged(MIX, cudnn(framework(TORCH), *parts, main=part("", "9.10.2"))).status is Status.OK

    def test_patches_and_unknown_versions_are_no_mixture(self) -> None:
        one = cudnn(framework(TORCH), part("graph", "9.10.2"), part("ops", "9.10.1"), part("cnn", ""))
        assert judged(MIX, one).status is Status.OK

    def test_in_the_wheel_s_own_folder_it_is_installed_anew(self) -> None:
        folder = "/usr/lib/x86_64-linux-gnu"
        one = cudnn(
            framework(TORCH),
            part("graph", "9.10.2", folder, "ld.so.cache"),
            part("ops", "9.1.0", folder, "ld.so.cache"),
        )
        assert "pip install nvidia-cudnn-cu12==9.10.2.21" in only(judged(MIX, one)).remedy

    def test_what_was_seen_to_work_is_fine(self) -> None:
        build = framework(TORCH)
        assert judged(MIX, cudnn(build, *self.ODD), more=(trial(build),)).status is Status.OK


class TestGpuUnsupported:
    def test_a_plain_upgrade_on_volta(self) -> None:
        newest = distribution("nvidia-cudnn-cu12", "9.28.0.42")
        found = only(judged(UNSUPPORTED, cudnn(framework(JAX, newest), part("graph", "9.28.0")), here=gpus(V100)))
        assert found.severity is Severity.WARNING  # not known from NVIDIA itself
        assert (
            "serves GPUs from compute capability 7.5 on, as build files of two other projects have it" in found.summary
        )
        assert "Tesla V100-SXM2-16GB (compute capability 7.0)" in found.summary
        assert f"`{PREFIX}/bin/python -m pip install nvidia-cudnn-cu12==9.10.2.21`" in found.remedy

    def test_a_failed_convolution_makes_it_certain(self) -> None:
        build = framework(JAX)
        one = cudnn(build, part("graph", "9.28.0"))
        failed = trial(build, failure="CUDNN_STATUS_NOT_SUPPORTED_ARCH_MISMATCH", at="convolution")
        assert only(judged(UNSUPPORTED, one, here=gpus(V100), more=(failed,))).severity is Severity.ERROR
        assert judged(UNSUPPORTED, one, here=gpus(V100), more=(trial(build),)).status is Status.OK

    def test_beside_a_newer_gpu_it_stays_a_warning(self) -> None:
        build = framework(JAX)
        failed = trial(build, failure="CUDNN_STATUS_NOT_SUPPORTED_ARCH_MISMATCH", at="convolution")
        outcome = judged(UNSUPPORTED, cudnn(build, part("graph", "9.28.0")), here=gpus(V100, H200), more=(failed,))
        assert only(outcome).severity is Severity.WARNING

    def test_an_exact_pin_needs_another_build(self) -> None:
        pinned = distribution("torch", "2.12.0", "nvidia-cudnn-cu12==9.20.0.48")
        outcome = judged(UNSUPPORTED, cudnn(framework(pinned), part("graph", "9.20.0")), here=gpus(V100))
        assert "nvidia-cudnn-cu12==9.10.2.21" not in only(outcome).remedy
        assert "cu126" in only(outcome).remedy or "recommend torch" in only(outcome).remedy

    @pytest.mark.parametrize(
        ("version", "one"),
        [
            ("9.10.2", V100),
            ("9.28.0", RTX_4090),
            ("9.28.0", gpu("Tesla T4", (7, 5))),
            ("9.10.2", gpu("NVIDIA GeForce GTX 1080", (6, 1))),
            ("8.9.7", V100),
            ("", V100),
            ("99.1.0", V100),  # unknown to the table
        ],
    )
    def test_what_is_served(self, version: str, one: ComputeGpu) -> None:
        assert judged(UNSUPPORTED, cudnn(framework(JAX), part("graph", version)), here=gpus(one)).status is Status.OK

    def test_nothing_to_judge(self) -> None:
        one = cudnn(framework(JAX), part("graph", "9.28.0"))
        assert judged(UNSUPPORTED, one, here=gpus()).status is Status.SKIPPED
        outcome = judged(UNSUPPORTED, one, here=gpus(gpu("A GPU", None)))
        assert (outcome.status, outcome.reason) == (Status.UNKNOWN, "the compute capability of A GPU is unknown")


class TestLibraryMissing:
    def missing(
        self,
        build: FrameworkBuild,
        soname: str = "libcudnn.so.9",
        *,
        here: ComputeGpus | None = None,
        problems: tuple[tuple[str, str], ...] = (),
        system: CudnnLibraries | None = None,
        bundled: BundledCudnns | None = None,
    ) -> Outcome:
        libraries = FrameworkLibraries((use(build.framework, soname),), problems)
        none = CudnnLibraries((), (), (), ())
        known = (FrameworkBuilds((build,)), libraries, system or none, here or gpus(RTX_4090))
        return outcome_of(MISSING, *known, bundled or BundledCudnns(()))

    def test_it_is_nowhere(self) -> None:
        found = only(self.missing(framework(TORCH)))
        assert found.summary == f"torch 2.9.1 in {PREFIX} needs libcudnn.so.9, and it is nowhere."
        assert found.severity is Severity.ERROR
        assert f"`{PREFIX}/bin/python -m pip install nvidia-cudnn-cu12==9.10.2.21`" in found.remedy

    def test_only_another_major_version_is_there(self) -> None:
        older = distribution("torch", "2.3.1", "nvidia-cudnn-cu12==8.9.2.26")
        found = only(self.missing(framework(older, WHEEL_9_10), "libcudnn.so.8"))
        assert found.summary.endswith("needs libcudnn.so.8, and only nvidia-cudnn-cu12 9.10.2.21 is there.")
        assert Evidence(WHEEL_9_10.folder, "nvidia-cudnn-cu12 9.10.2.21") in found.evidence
        assert "nvidia-cudnn-cu12==8.9.2.26" in found.remedy

    def test_only_the_system_s_of_another_major_version(self) -> None:
        library = SharedLibrary("libcudnn.so.8", "/usr/lib/libcudnn.so.8", "/usr/lib/libcudnn.so.8.9.7", "8.9.7")
        system = CudnnLibraries((CudnnFolder("/usr/lib", "/usr/lib", (library,), None),), (), (), ())
        found = only(self.missing(framework(TORCH), system=system))
        assert Evidence("/usr/lib/libcudnn.so.8", "libcudnn.so.8") in found.evidence

    def test_a_wheel_for_another_cuda_goes_first(self) -> None:
        other = distribution("nvidia-cudnn-cu13", "8.9.7.29")
        remedy = only(self.missing(framework(TORCH, other))).remedy
        assert "pip uninstall -y nvidia-cudnn-cu13`, then" in remedy

    def test_without_a_gpu_only_torch_needs_it(self) -> None:
        assert self.missing(framework(TORCH), here=gpus()).status is Status.FOUND
        assert self.missing(framework(JAX), here=gpus()).status is Status.OK
        assert self.missing(framework(JAX)).status is Status.FOUND

    def test_jaxlib_beside_its_plugin_needs_none(self) -> None:
        lib = framework(distribution("jaxlib", "0.6.2"))._replace(framework="jax", cuda=None)
        assert self.missing(lib).status is Status.OK

    def test_a_file_that_could_not_be_read_leaves_it_open(self) -> None:
        outcome = self.missing(framework(TORCH), problems=((PREFIX, "x.so is damaged"),))
        assert (outcome.status, outcome.reason) == (Status.UNKNOWN, "x.so is damaged")

    def test_tensorflow_has_a_check_of_its_own(self) -> None:
        assert self.missing(framework(TENSORFLOW)).status is Status.OK

    def half(self, *beside: Distribution, found: str = "", here: ComputeGpus | None = None) -> Outcome:
        own = distribution("ctranslate2", "4.4.0")
        where = environment(own, *beside)
        path = f"{SITE}/ctranslate2.libs/libcudnn-463fd6d5.so.8.9.7"
        one = BundledCudnn(where, own, path, "libcudnn_ops_infer.so.8", found)
        return outcome_of(
            MISSING,
            FrameworkBuilds(()),
            FrameworkLibraries(()),
            CudnnLibraries((), (), (), ()),
            here or gpus(RTX_4090),
            BundledCudnns((one,)),
        )

    def test_ctranslate2_brings_half_of_it(self) -> None:
        found = only(self.half())
        assert found.summary == (
            f"ctranslate2 4.4.0 in {PREFIX} brings a part of cuDNN 8, and the rest, libcudnn_ops_infer.so.8, is "
            "nowhere."
        )
        assert found.severity is Severity.WARNING
        assert "pip install nvidia-cudnn-cu12==8.9.7.29`" in found.remedy

    def test_another_release_of_it_where_torch_holds_the_newer_one(self) -> None:
        found = only(self.half(WHEEL_9_10))
        assert "(only nvidia-cudnn-cu12 9.10.2.21 is there)" in found.summary
        assert found.remedy.startswith("Install a release of ctranslate2")

    def test_ctranslate2_finds_it_or_needs_none(self) -> None:
        assert self.half(found="/usr/lib/libcudnn_ops_infer.so.8").status is Status.OK
        assert self.half(here=gpus()).status is Status.OK


class TestHeaderMismatch:
    def headers(self, header: str, *libraries: str, packages: tuple[Package, ...] = ()) -> Outcome:
        folder = "/usr/lib/x86_64-linux-gnu"
        there = tuple(
            SharedLibrary(
                f"libcudnn.so.{version.partition('.')[0]}",
                f"{folder}/libcudnn.so.{version.partition('.')[0]}",
                f"{folder}/libcudnn.so.{version}",
                version,
            )
            for version in libraries
        )
        path = "/usr/include/cudnn_version.h"
        known = (Header(path, path, header),)
        folders = (CudnnFolder(folder, folder, there, known[0]),) if there else ()
        return outcome_of(HEADER, CudnnLibraries(folders, known, there, packages))

    def test_the_header_is_newer(self) -> None:
        package = Package("libcudnn9-cuda-12", "9.1.0.70-1", "amd64", "installed", False, "")
        found = only(self.headers("9.10.2", "9.1.0", packages=(package,)))
        assert found.summary == (
            "What is compiled here is made for cuDNN 9.10.2, as /usr/include/cudnn_version.h says, but the library is "
            "9.1.0."
        )
        assert registry.checks[HEADER].severity is Severity.WARNING
        assert "beside libcudnn9-cuda-12 9.1.0.70-1" in found.remedy
        assert "`update-alternatives --config libcudnn`" in found.remedy

    def test_the_header_is_of_another_major_version(self) -> None:
        assert "made for cuDNN 8.9.7" in only(self.headers("8.9.7", "9.10.2")).summary

    @pytest.mark.parametrize(
        ("header", "libraries"),
        [("9.10.2", ("9.10.2",)), ("9.1.0", ("9.10.2",)), ("8.9.7", ("9.10.2", "8.9.7")), ("9.10.2", ())],
    )
    def test_what_fits(self, header: str, libraries: tuple[str, ...]) -> None:
        assert self.headers(header, *libraries).status is Status.OK

    def test_an_unknown_version_does_not_matter(self) -> None:
        outcome = self.headers("", "9.10.2")
        assert (outcome.status, outcome.matters) == (Status.UNKNOWN, False)


@pytest.mark.parametrize(
    ("message", "check"),
    [
        (
            "RuntimeError: cuDNN version incompatibility: PyTorch was compiled  against (8, 7, 0) but found runtime "
            "version (8, 2, 4). PyTorch already comes bundled with cuDNN.",
            VERSION,
        ),
        ("one possibility is that there is a conflicting cuDNN in LD_LIBRARY_PATH.", VERSION),
        ("Loaded runtime CuDNN library: 9.0.0 but source was compiled with: 9.1.1.", VERSION),
        ("cuDNN error: CUDNN_STATUS_SUBLIBRARY_VERSION_MISMATCH", MIX),
        ("Unable to load any of {libcudnn_cnn.so.9.12.0, libcudnn_cnn.so.9.12, libcudnn_cnn.so.9}", MIX),
        ("Could not load library libcudnn_cnn_infer.so.8. Error: libcudnn_cnn_infer.so.8: cannot open", MISSING),
        ("ImportError: libcudnn.so.9: cannot open shared object file: No such file or directory", MISSING),
        ("CUDNN_STATUS_NOT_SUPPORTED_ARCH_MISMATCH", UNSUPPORTED),
        ('Could NOT find CUDNN: Found unsuitable version "8.9.7", but required is at least "9.0"', HEADER),
    ],
)
def test_messages_that_users_see(message: str, check: str) -> None:
    load_plugins()
    assert any(re.search(pattern, message) for pattern in registry.checks[check].symptoms)
