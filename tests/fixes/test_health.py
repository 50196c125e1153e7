"""What a person is asked to do for a GPU, and whom that would stop."""

from step_rules import broken_rules

from gpudoctor import Finding, Findings, Manual
from gpudoctor.facts.processes import DeviceUsers, Holder
from gpudoctor.testing import steps_of

RESET = "Stop what uses the GPU, then `sudo nvidia-smi -i 0 -r`; if that is refused, restart the machine."
FOUND = Finding("GPU 0000:01:00.0 (NVIDIA H200) had a memory error.", "0000:01:00.0", (), RESET)
TWICE = Findings((("health.ecc-uncorrectable", FOUND), ("health.row-remap", FOUND._replace(subject="0000:02:00.0"))))


def users(count: int) -> DeviceUsers:
    holders = tuple(Holder(4711 + n, 1000, "python3", ("/dev/nvidia0",)) for n in range(count))
    return DeviceUsers(holders, (), 0)


def test_each_remedy_is_told_once_and_who_uses_gpus_is_named() -> None:
    (step,) = steps_of("act-on-gpu-health", TWICE, users(1))
    assert step.action == Manual(f"{RESET} GPUs are in use by python3 (4711).")
    assert not step.root
    assert broken_rules(step) == []


def test_many_users_are_counted() -> None:
    (step,) = steps_of("act-on-gpu-health", TWICE, users(9))
    assert isinstance(step.action, Manual)
    assert step.action.instruction.endswith("python3 (4716) and 3 more.")


def test_users_matter_only_to_a_reset_and_may_be_unknown() -> None:
    clean = Findings((("health.thermal-throttle", FOUND._replace(remedy="Clean the fans.")),))
    assert [step.action for step in steps_of("act-on-gpu-health", clean, users(1))] == [Manual("Clean the fans.")]
    (step,) = steps_of("act-on-gpu-health", TWICE)
    assert step.action == Manual(RESET)


def test_nothing_to_tell_without_a_remedy() -> None:
    assert steps_of("act-on-gpu-health", Findings((("health.other-xid", FOUND._replace(remedy="")),)), users(0)) == ()
