"""What `check --deep` makes of frameworks that were tried."""

from framework_environments import PREFIX, RTX_4090, gpus

from gpudoctor.facts.deep import DeepTrials, FrameworkTrial
from gpudoctor.findings import Severity, Status
from gpudoctor.registry import registry
from gpudoctor.testing import outcome_of

ID = "python.framework-trial"
FINE = FrameworkTrial("torch", "2.9.1+cu128", 1, "", "", (), {}, PREFIX, 1000)
FAILED = FINE._replace(failure="RuntimeError: CUDA error: no kernel image is available", failed_at="matmul")


def test_a_framework_that_computed() -> None:
    assert outcome_of(ID, gpus(RTX_4090), DeepTrials((FINE,))).status is Status.OK


def test_a_framework_that_failed() -> None:
    outcome = outcome_of(ID, gpus(RTX_4090), DeepTrials((FINE, FAILED)))
    (finding,) = outcome.findings
    assert outcome.check.severity is Severity.ERROR
    assert "failed at the matmul on the GPU" in finding.summary
    assert finding.evidence[0] == ("torch, run as user 1000", FAILED.failure)
    assert "gpudoctor explain" in finding.remedy
    assert finding.environment == PREFIX


def test_import_and_devices_in_words() -> None:
    for place, words in {"import": "could not be imported", "devices": "found no usable GPU"}.items():
        (finding,) = outcome_of(ID, gpus(RTX_4090), DeepTrials((FAILED._replace(failed_at=place),))).findings
        assert words in finding.summary


def test_one_that_hung_is_unknown_and_hides_no_other() -> None:
    hung = FINE._replace(framework="jax", unavailable="no answer in 120 s")
    outcome = outcome_of(ID, gpus(RTX_4090), DeepTrials((hung, FAILED)))
    assert len(outcome.findings) == 1
    assert f"jax in {PREFIX}: no answer in 120 s" in outcome.reason
    assert outcome_of(ID, gpus(RTX_4090), DeepTrials((hung,))).status is Status.UNKNOWN


def test_without_a_gpu_nothing_is_expected_of_it() -> None:
    assert outcome_of(ID, gpus(), DeepTrials((FAILED,))).status is Status.SKIPPED


def test_every_cause_that_is_named_exists() -> None:
    assert set(registry.checks[ID].after) <= registry.checks.keys()
