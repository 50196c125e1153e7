"""What was asked for with --to: not there, there, or refused because it would leave a GPU without a driver."""

import pytest
from outcomes import only, severity_of

from gpudoctor import Severity, Unavailable
from gpudoctor.diagnose import diagnose
from gpudoctor.facts.cuda_level import ComputeGpu, ComputeGpus, DriverCuda
from gpudoctor.facts.cudnn import CudnnLibraries
from gpudoctor.facts.packages import Package, Packages
from gpudoctor.facts.pci import PciGpu, PciGpus
from gpudoctor.facts.requested_runfile import RequestedRunfile
from gpudoctor.facts.shared_libraries import SharedLibrary
from gpudoctor.facts.system import Confinement
from gpudoctor.facts.toolkits import CudaToolkits, DefaultLink, Toolkit
from gpudoctor.facts.versions import DriverVersions
from gpudoctor.facts.wanted import Request, Wanted, parse_request
from gpudoctor.findings import Status
from gpudoctor.registry import load_plugins, registry
from gpudoctor.testing import facts_of, outcome_of

load_plugins()
DRIVER, CUDA, CUDNN = "request.driver", "request.cuda", "request.cudnn"
NO_FILE = RequestedRunfile("", "", "", "", 0, ())
HERE = Confinement("", False)
PASCAL = PciGpu("0000:02:00.0", "1b06", "nvidia", "GTX 1080 Ti", "Pascal", "proprietary-only", 580, "")
BLACKWELL = PciGpu("0000:01:00.0", "2b85", "nvidia", "RTX 5090", "Blackwell", "open-only", None, "570.86.16")
HOPPER = PciGpu("0000:03:00.0", "2335", "nvidia", "H200", "Hopper", "either", None, "550.54.14")


def asked(*texts: str) -> Wanted:
    return Wanted(tuple(map(parse_request, texts)))


def versions(user_space: str = "", on_disk: str | None = None, loaded: str = "", next_boot: str = "") -> DriverVersions:
    module = user_space if on_disk is None else on_disk
    return DriverVersions(loaded, module, "/m/nvidia.ko", user_space, "/l/libcuda.so", user_space, "", next_boot)


def driver(text: str, *more: object, gpus: tuple[PciGpu, ...] = ()) -> tuple[object, ...]:
    return (asked(text), PciGpus(gpus), HERE, Packages("dpkg", ()), NO_FILE, versions(), *more)


@pytest.mark.parametrize("check", [DRIVER, CUDA, CUDNN])
def test_nothing_is_said_where_nothing_was_asked_for(check):
    outcome = outcome_of(check, Wanted(()))
    assert outcome.status is Status.SKIPPED
    report = diagnose(facts_of(Wanted(())), [registry.checks[check]])
    assert report.outcomes == ()
    assert report.status == "ok"


def test_a_request_of_one_kind_makes_no_other_a_matter():
    checks = [registry.checks[id] for id in (DRIVER, CUDA, CUDNN)]
    report = diagnose(facts_of(*driver("driver=580")), checks)
    assert [outcome.check.id for outcome in report.outcomes] == [DRIVER]


@pytest.mark.parametrize(
    ("text", "here", "words"),
    [
        ("driver=580", versions(), "and no driver is here."),
        ("driver=580", versions("535.309.01"), "and 535.309.01 is here."),
        ("driver=580", versions("580.95.05", "575.64"), "and 575.64 is here."),
        ("driver=580", versions("580.95.05", ""), "and the module on the disk is missing."),
        (
            "driver=580",
            versions("580.95.05", loaded="575.64"),
            "it is installed, but 575.64 stays loaded until a restart.",
        ),
        ("driver=580", versions("580.95.05", next_boot="575.64"), "and 575.64 is here."),
        ("driver=580.95.05", versions("580.82.07"), "and 580.82.07 is here."),
    ],
)
def test_a_driver_that_is_not_there_yet(text, here, words):
    found = only(DRIVER, *driver(text, here))
    assert found.summary.endswith(words)
    assert found.subject == text
    assert severity_of(DRIVER, found) is Severity.WARNING


@pytest.mark.parametrize(
    "here", [versions("580.95.05"), versions("580.95.05", loaded="580.95.05", next_boot="580.95.05")]
)
def test_a_driver_that_is_there(here):
    assert outcome_of(DRIVER, *driver("driver=580", here)).status is Status.OK
    assert outcome_of(DRIVER, *driver("driver=580.95.05", here)).status is Status.OK


def test_a_machine_that_cannot_tell_its_driver_is_unknown_and_that_matters():
    facts = [fact for fact in driver("driver=580") if not isinstance(fact, DriverVersions)]
    outcome = outcome_of(DRIVER, *facts)
    assert outcome.status is Status.UNKNOWN
    assert outcome.matters


@pytest.mark.parametrize(
    ("text", "gpus", "words"),
    [
        ("driver=590", (PASCAL,), "Driver 590 would ignore GTX 1080 Ti (0000:02:00.0): branch 580 is the last"),
        ("driver=590.48.01", (HOPPER, PASCAL), "would ignore GTX 1080 Ti"),
        ("driver=535", (BLACKWELL,), "Driver 535 does not know RTX 5090 (0000:01:00.0): 570.86.16 is the first"),
        ("driver=570.80.10", (BLACKWELL,), "does not know RTX 5090"),
        ("driver=580", (BLACKWELL, PASCAL), "No driver serves all GPUs here"),
    ],
)
def test_a_driver_that_would_break_a_gpu_is_refused_with_the_reason(text, gpus, words):
    found = only(DRIVER, *driver(text, gpus=gpus))
    assert words in found.summary
    assert severity_of(DRIVER, found) is Severity.ERROR


@pytest.mark.parametrize(
    ("text", "gpus"),
    [
        ("driver=580", (PASCAL,)),
        ("driver=570", (BLACKWELL,)),
        ("driver=590", (HOPPER, PASCAL._replace(driver="vfio-pci"))),
        ("driver=590", ()),
    ],
)
def test_a_driver_that_serves_them_is_not_refused(text, gpus):
    assert "is asked for, and no driver is here" in only(DRIVER, *driver(text, gpus=gpus)).summary


@pytest.mark.parametrize(
    ("where", "words"), [(Confinement("docker", False), "the host's"), (Confinement("", True), "Windows")]
)
def test_in_a_container_the_driver_is_somebody_elses(where, words):
    assert words in only(DRIVER, *driver("driver=580", where)).summary


def package(name: str, version: str = "535.309.01-1", vendor: str = "Debian NVIDIA Maintainers") -> Package:
    return Package(name, version, "amd64", "installed", False, vendor)


def test_a_runfile_over_packages_is_refused():
    facts = driver("driver=580", Packages("dpkg", (package("libcuda1"), package("nvidia-kernel-dkms"))))
    wanted = Wanted((Request("driver", "580", "/tmp/a.run"),))
    found = only(DRIVER, *facts, wanted, NO_FILE._replace(path="/tmp/a.run", kind="driver", version="580.95.05"))
    assert "packages (libcuda1, nvidia-kernel-dkms)" in found.summary
    assert "without --runfile" in found.summary


def test_a_runfile_that_must_not_run_is_refused_in_its_own_words():
    wanted = Wanted((Request("driver", "580", "/tmp/a.run"),))
    problem = "/tmp/a.run is 575.64, and driver 580 was asked for: its head says so."
    assert problem in only(DRIVER, *driver("driver=580"), wanted, NO_FILE._replace(problem=problem)).summary


def test_a_runfile_that_cannot_be_read_is_refused():
    wanted = Wanted((Request("driver", "580", "/tmp/a.run"),))
    facts = [fact for fact in driver("driver=580") if not isinstance(fact, RequestedRunfile)]
    assert "/tmp/a.run is cannot be told" in only(DRIVER, *facts, wanted).summary


def test_packages_of_two_makers_come_first():
    mixed = (package("libcuda1"), package("libnvidia-ml1", vendor="NVIDIA CORPORATION <cudatools@nvidia.com>"))
    assert "of several makers (Debian, NVIDIA)" in only(DRIVER, *driver("driver=580", Packages("dpkg", mixed))).summary


# CUDA

HOPPERS = ComputeGpus((ComputeGpu("0000:03:00.0", "H200", (9, 0), "table", True),))
PASCALS = ComputeGpus((ComputeGpu("0000:02:00.0", "GTX 1080 Ti", (6, 1), "table", False),))
R580, R470 = DriverCuda("580.95.05", (13, 0), "x"), DriverCuda("470.256.02", (11, 4), "x")


def toolkit(version: str, folder: str = "", *, nvcc: bool = True, origin: str = "local") -> Toolkit:
    folder = folder or f"/usr/local/cuda-{'.'.join(version.split('.')[:2])}"
    path = f"{folder}/bin/nvcc" if nvcc else ""
    return Toolkit(folder, folder, version, f"{folder}/version.json", path, "", "", None, None, "", origin, ())


def toolkits(*known: Toolkit, link: Toolkit | None = None) -> CudaToolkits:
    leads = DefaultLink((("/usr/local/cuda", link.folder),), link.folder, link) if link else None
    return CudaToolkits(known, leads, None, (), ())


def cuda(text: str, *more: object) -> tuple[object, ...]:
    return (asked(text), toolkits(), HOPPERS, PciGpus((HOPPER,)), R580, HERE, NO_FILE, *more)


T128, T130 = toolkit("12.8.1"), toolkit("13.0.2")


@pytest.mark.parametrize(
    ("known", "words"),
    [
        (toolkits(), "and no toolkit is here."),
        (toolkits(T130, link=T130), "and 13.0.2 is here."),
        (
            toolkits(T128, T130, link=T130),
            "it is in /usr/local/cuda-12.8, but /usr/local/cuda leads to /usr/local/cuda-13.0.",
        ),
        (toolkits(T128), "but /usr/local/cuda leads to nothing."),
        (toolkits(toolkit("12.8.1", nvcc=False)), "and no toolkit is here."),
        (toolkits(toolkit("12.8.1", "/home/ada/conda", origin="conda")), "and 12.8.1 is here."),
    ],
)
def test_a_toolkit_that_is_not_there_yet(known, words):
    assert only(CUDA, *cuda("cuda=12.8", known)).summary.endswith(words)


@pytest.mark.parametrize(
    "known",
    [
        toolkits(T128, link=T128),
        toolkits(T128, T130, link=T128),
        toolkits(toolkit("12.8.1", "/usr", origin="distribution")),
    ],
)
def test_a_toolkit_that_is_there(known):
    assert outcome_of(CUDA, *cuda("cuda=12.8", known)).status is Status.OK
    assert outcome_of(CUDA, *cuda("cuda=12.8.1", known)).status is Status.OK
    assert outcome_of(CUDA, *cuda("cuda=12.8.0", known)).status is Status.FOUND


def test_a_driver_that_is_too_old_for_the_toolkit_that_is_there():
    found = only(CUDA, *cuda("cuda=12.8", toolkits(T128, link=T128), R470))
    assert "driver 470.256.02 (CUDA 11.4) is too old for it: it needs 525.60.13 or newer" in found.summary
    assert outcome_of(CUDA, *cuda("cuda=12.8", toolkits(T128, link=T128), Unavailable("no driver"))).status is Status.OK


@pytest.mark.parametrize(
    ("text", "more", "words"),
    [
        ("cuda=13.0", (PASCALS, PciGpus((PASCAL,))), "CUDA 12.9 is the last that does: ask for cuda=12.9."),
        (
            "cuda=12.8",
            (PciGpus((PASCAL._replace(last_branch=470),)),),
            "needs driver 525.60.13 or newer, and branch 470 is the last that serves GTX 1080 Ti",
        ),
        ("cuda=12.8", (Confinement("docker", False), R470), "the host's is older, and cannot be changed from here"),
        ("cuda=12.8", (asked("cuda=12.8", "driver=470"),), "and driver 470 is asked for too. Ask for driver=525"),
    ],
)
def test_a_toolkit_that_would_be_of_no_use_is_refused(text, more, words):
    found = only(CUDA, *cuda(text, *more))
    assert words in found.summary
    assert severity_of(CUDA, found) is Severity.ERROR


def test_in_a_container_a_toolkit_is_no_matter_of_the_host():
    found = only(CUDA, *cuda("cuda=12.8", Confinement("docker", False)))
    assert found.summary == "CUDA 12.8 is asked for, and no toolkit is here."


# cuDNN


def cudnn(text: str, *taken: str, more: tuple[object, ...] = ()) -> tuple[object, ...]:
    libraries = tuple(SharedLibrary(f"libcudnn.so.{one[0]}", "/l/libcudnn.so", "/l/libcudnn.so", one) for one in taken)
    return (asked(text), CudnnLibraries((), (), libraries, ()), toolkits(T128, link=T128), R580, HOPPERS, *more)


@pytest.mark.parametrize(
    ("text", "taken", "words"),
    [
        ("cudnn=9", (), "and programs find none here."),
        ("cudnn=9", ("8.9.7",), "and 8.9.7 is here."),
        ("cudnn=9.10", ("9.1.0",), "and 9.1.0 is here."),
    ],
)
def test_a_cudnn_that_is_not_there_yet(text, taken, words):
    assert only(CUDNN, *cudnn(text, *taken)).summary.endswith(words)


@pytest.mark.parametrize(("text", "taken"), [("cudnn=9", ("9.10.2",)), ("cudnn=9.10", ("8.9.7", "9.10.2"))])
def test_a_cudnn_that_is_there(text, taken):
    assert outcome_of(CUDNN, *cudnn(text, *taken)).status is Status.OK


def test_a_cudnn_without_code_for_the_gpu_does_not_count():
    assert only(CUDNN, *cudnn("cudnn=9", "9.12.0", more=(PASCALS,))).summary.endswith("and 9.12.0 is here.")
    refused = only(CUDNN, *cudnn("cudnn=9.12", more=(PASCALS,)))
    assert "cuDNN 9.12 for CUDA 12 serves no GPU that is here" in refused.summary


def test_a_release_that_is_known_to_be_faulty_is_refused():
    assert "is known to be faulty" in only(CUDNN, *cudnn("cudnn=9.10.0")).summary
