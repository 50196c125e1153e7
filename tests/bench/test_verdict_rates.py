"""Verdicts on rates: sound ones pass, slow ones are named with their numbers, and the rest is not judged."""

import json
from pathlib import Path
from typing import Any

import pytest
from bench_measurements import H200, L4, UNLISTED, counters, rate, samples

import gpudoctor.knowledge
from gpudoctor.bench.measures import Rate, Traits
from gpudoctor.bench.result import PhaseResult, Status
from gpudoctor.bench.verdicts.rates import judge_rates
from gpudoctor.knowledge.peaks import measured_rate, multiply_adds, rated_gpu

TABLE = json.loads((Path(gpudoctor.knowledge.__file__).parent / "gpu_peaks.json").read_text(encoding="utf-8"))
NAN = float("nan")


def judged(*rates: Rate, traits: Traits | None = H200, seen: Any = None, **more: Any) -> PhaseResult:
    return judge_rates(rates, traits, samples() if seen is None else seen, more.get("counters", counters()))


def only(found: PhaseResult) -> tuple[str, Status, str]:
    (judgement,) = found.judgements
    assert found.status is judgement.status
    assert found.reason == judgement.text
    return judgement.id, judgement.status, judgement.text


def test_a_healthy_gpu_passes_on_all_that_is_judged() -> None:
    found = judged(
        rate(error=3e-4),
        rate("product", "fp32", 48.0, error=2e-7),
        rate("copy", "", 4300.0),
        rate("to device", "", 55.0),
        rate("to host", "", 54.0),
        rate("training", "fp16", 90_000.0, modelled=120_000.0),
    )
    assert found.status is Status.PASSED, found.reason
    assert found.judgements == []
    assert found.numbers["judged"] == [
        *("bench.clocks-throttled", "bench.compute-slow", "bench.convolution-slow"),
        *("bench.memory-slow", "bench.numerics-wrong", "bench.pcie-slow"),
    ]
    product = found.numbers["rates"][0]
    assert product["peak"] == pytest.approx(132 * 1830e6 * 2048 * 2 / 1e12)
    assert product["share"] == pytest.approx(0.788, abs=1e-3)
    assert product["verdict"] == "passed"
    assert "products 78% to 79%" in found.reason


@pytest.mark.parametrize(
    ("precision", "share", "status"),
    [
        ("fp16", 0.66, Status.PASSED),
        ("fp16", 0.64, Status.WARNED),
        ("fp16", 0.49, Status.FAILED),
        ("bf16", 0.49, Status.FAILED),
        ("tf32", 0.64, Status.WARNED),
        ("fp32", 0.56, Status.PASSED),
        ("fp32", 0.54, Status.WARNED),
        ("fp32", 0.39, Status.FAILED),
    ],
)
def test_products_against_multiprocessors_and_the_sampled_clock(precision: str, share: float, status: Status) -> None:
    adds = {"fp16": 2048, "bf16": 2048, "tf32": 1024, "fp32": 128}[precision]
    peak = 132 * 1500e6 * adds * 2 / 1e12
    # Without a row in the table of models: nothing measured elsewhere has a say.
    found = judged(
        rate("product", precision, share * peak), traits=UNLISTED, seen=samples(1500, power_w=690.0, reasons=4)
    )
    assert found.status is status, found.reason
    if status is not Status.PASSED:
        id, _, text = only(found)
        assert id == "bench.compute-slow"
        assert f"{share:.1%} of the" in text
        assert "132 multiprocessors can do at the measured 1500 MHz" in text


def test_half_the_expected_rate_is_a_failure_and_a_low_clock_is_not() -> None:
    half = judged(rate(median=390.0))
    assert only(half)[:2] == ("bench.compute-slow", Status.FAILED)
    slowed = judged(rate(median=390.0), traits=UNLISTED, seen=samples(915, reasons=0x40 | 0x08, temperature_c=93))
    id, status, text = only(slowed)
    assert (id, status) == ("bench.clocks-throttled", Status.WARNED)
    assert "hardware slowdown, hardware thermal slowdown in 100% of the samples, at up to 93 °C" in text
    assert "915 MHz, 46% of the rated boost of 1980 MHz" in text


def test_without_samples_the_rated_clock_makes_the_peak_and_nothing_fails() -> None:
    found = judged(rate(median=390.0), seen=[])
    id, status, text = only(found)
    assert (id, status) == ("bench.compute-slow", Status.WARNED)
    assert "at the rated 1980 MHz" in text
    assert "its clock was not sampled" in text.lower()
    assert "bench.clocks-throttled" not in found.numbers["judged"]
    assert judged(rate(), seen=[]).status is Status.PASSED


def test_only_samples_taken_meanwhile_count() -> None:
    idle = samples(345, began=50.0)
    assert judged(rate(), seen=[*idle, *samples()]).numbers["rates"][0]["clock_mhz"] == 1830
    assert judged(rate(), seen=idle).numbers["rates"][0]["clock_mhz"] is None


def test_a_card_of_75_watts_is_judged_at_its_own_clock_only() -> None:
    # An L4 in fp32: 0.38 of what its rated clock would allow.
    product = rate("product", "fp32", 11.5)
    sampled = judged(
        product, traits=L4, seen=samples(1050, power_w=71.9, reasons=4), counters=counters(power_limit_w=72.0)
    )
    assert sampled.status is Status.PASSED, sampled.reason
    assert "its power is used up, as is normal at full load" in sampled.reason
    unsampled = judged(product, traits=L4, seen=[])
    assert unsampled.status is Status.SKIPPED
    assert unsampled.judgements == []
    assert "its power does not allow the rated one" in unsampled.reason


def test_low_trust_never_fails_a_gpu() -> None:
    h20 = H200._replace(name="NVIDIA H20", sm_count=78)
    found = judged(rate(median=140.0), rate("product", "fp32", 10.0), traits=h20)
    assert [row["verdict"] for row in found.numbers["rates"]] == ["not judged", "not judged"]
    assert "what a NVIDIA H20 can do in fp16 is not known well enough" in found.numbers["rates"][0]["why_not"]
    a10g = Traits("NVIDIA A10G", "", "", (8, 6), 72, 6 << 20, 22 << 30, 1_710_000, 6_251_000, 384)
    found = judged(rate(median=20.0), rate("product", "fp32", 22.0), traits=a10g)
    assert [row["verdict"] for row in found.numbers["rates"]] == ["not judged", "passed"]


def test_an_unlisted_gpu_of_a_capability_with_two_rates_is_held_against_the_lower() -> None:
    unlisted = L4._replace(name="NVIDIA Z9", sm_count=60)
    full = 60 * 1830e6 * 512 * 2 / 1e12
    assert judged(rate(median=0.4 * full), traits=unlisted).status is Status.PASSED
    assert judged(rate(median=0.2 * full), traits=unlisted).status is Status.FAILED


def test_a_capability_that_no_table_knows_is_not_judged() -> None:
    found = judged(rate(), traits=UNLISTED._replace(capability=(14, 0)), seen=[])
    assert found.status is Status.SKIPPED
    assert "the peak of compute capability 14.0 in fp16 is not known" in found.reason


def test_a_mig_slice_is_judged_by_its_own_multiprocessors_and_not_by_memory_or_link() -> None:
    mig = H200._replace(name="NVIDIA H200 MIG 1g.18gb", uuid="MIG-1", sm_count=16)
    peak = 16 * 1830e6 * 2048 * 2 / 1e12
    found = judged(rate(median=0.8 * peak), rate("copy", "", 500.0), rate("to device", "", 6.0), traits=mig)
    assert found.status is Status.PASSED, found.reason
    assert [row["verdict"] for row in found.numbers["rates"]] == ["passed", "not judged", "not judged"]
    assert judged(rate(median=0.4 * peak), traits=mig).status is Status.FAILED


@pytest.mark.parametrize("name", ["NVIDIA A40-48Q", "GRID T4-16C"])
def test_a_virtual_gpu_is_not_judged_by_speed_but_by_its_numbers(name: str) -> None:
    assert judged(rate(median=1.0), traits=H200._replace(name=name), seen=[]).status is Status.SKIPPED
    wrong = judged(rate(median=1.0, error=0.1), traits=H200._replace(name=name))
    assert only(wrong)[0] == "bench.numerics-wrong"


@pytest.mark.parametrize(
    ("precision", "error", "right"),
    [
        ("fp32", 9e-6, True),
        ("fp32", 2e-5, False),
        ("tf32", 1.9e-3, True),
        ("fp16", 3e-3, False),
        ("bf16", 9e-3, True),
        ("bf16", 2e-2, False),
        ("fp16", NAN, False),
    ],
)
def test_a_product_with_wrong_numbers_fails_however_fast_it_is(precision: str, error: float, right: bool) -> None:
    found = judged(rate("product", precision, 780.0, error=error), traits=None, seen=[])
    assert found.status is (Status.PASSED if right else Status.FAILED)
    if not right:
        id, _, text = only(found)
        assert id == "bench.numerics-wrong"
        assert "wrong numbers" in text


@pytest.mark.parametrize("median", [NAN, float("inf"), 0.0, -1.0])
@pytest.mark.parametrize("what", ["product", "copy", "to host", "training"])
def test_a_rate_that_is_no_number_never_passes(what: str, median: float) -> None:
    assert judged(rate(what, "", median, modelled=1.0)).status is Status.FAILED
    assert judged(rate(what, "", median), traits=None).status is Status.FAILED


@pytest.mark.parametrize(
    ("median", "status"), [(3700.0, Status.PASSED), (3500.0, Status.WARNED), (2900.0, Status.FAILED)]
)
def test_copies_against_clock_and_width_of_the_memory(median: float, status: Status) -> None:
    found = judged(rate("copy", "", median), traits=UNLISTED, seen=samples(memory_mhz=3201))
    assert found.status is status
    if status is not Status.PASSED:
        id, _, text = only(found)
        assert id == "bench.memory-slow"
        assert "4917 GB/s of its memory" in text


def test_a_low_clock_of_the_memory_is_named() -> None:
    found = judged(rate("copy", "", 1000.0), seen=samples(memory_mhz=1593))
    assert only(found)[2].endswith("Its memory ran at 1593 of 3201 MHz.")


def test_where_device_and_table_disagree_on_the_memory_the_lower_counts_and_nothing_fails() -> None:
    odd = H200._replace(memory_khz=6_402_000)
    assert judged(rate("copy", "", 3700.0), traits=odd).status is Status.PASSED
    assert judged(rate("copy", "", 2000.0), traits=odd).status is Status.WARNED
    untold = H200._replace(memory_khz=0)
    assert judged(rate("copy", "", 2000.0), traits=untold).status is Status.FAILED  # the table's 4800
    assert judged(rate("copy", "", 2000.0), traits=untold._replace(name="NVIDIA Z9"), seen=[]).status is Status.SKIPPED


@pytest.mark.parametrize(("median", "status"), [(39.5, Status.PASSED), (31.0, Status.WARNED), (12.0, Status.FAILED)])
def test_links_against_generation_and_lanes(median: float, status: Status) -> None:
    found = judged(rate("to host", "", median))
    assert found.status is status
    if status is not Status.PASSED:
        id, _, text = only(found)
        assert id == "bench.pcie-slow"
        assert "63.0 GB/s of PCIe 5.0 x16" in text


def test_a_link_on_half_its_lanes_is_named_as_such() -> None:
    found = judged(rate("to device", "", 27.0), counters=counters(pcie_width=8))
    assert only(found)[2].endswith("The link runs on 8 of 16 lanes.")


def test_a_link_that_nvml_does_not_tell_is_not_judged() -> None:
    for untold in (None, counters(pcie_generation_max=None), counters(pcie_width_max=None)):
        found = judge_rates([rate("to host", "", 2.0)], H200, [], untold)
        assert found.status is Status.SKIPPED
        assert "NVML does not tell the PCIe link" in found.reason


def test_training_against_the_products_and_copies_of_the_same_run_is_a_warning_at_most() -> None:
    assert judged(rate("training", "fp16", 60.0, modelled=100.0)).status is Status.PASSED
    found = judged(rate("convolution", "fp16", 4.0, modelled=100.0))
    assert only(found)[:2] == ("bench.convolution-slow", Status.WARNED)
    for modelled in (None, NAN):
        found = judged(rate("training", "fp16", 4.0, modelled=modelled), seen=[])
        assert found.status is Status.SKIPPED


def test_of_two_ways_to_convolve_the_faster_is_judged() -> None:
    slow = rate("convolution", "fp16", 10.0, modelled=100.0, detail="im2col")
    found = judged(slow, slow._replace(median=70.0, detail="shift"))
    assert found.status is Status.PASSED
    assert [row["verdict"] for row in found.numbers["rates"]] == ["not judged", "passed"]
    found = judged(slow, slow._replace(median=40.0, detail="shift"))
    assert "reaches 40 images/s" in only(found)[2]
    assert judged(slow._replace(median=NAN), slow._replace(median=70.0)).status is Status.FAILED


def test_a_copy_that_arrives_otherwise_fails() -> None:
    found = judged(rate("copy", "", 4300.0, error=1e-9))
    assert only(found)[0] == "bench.numerics-wrong"
    assert "a share of 1.0e-09 of what arrived is not what was sent" in found.reason


def test_a_known_model_far_below_what_others_measured_is_a_warning() -> None:
    # 70 % of the peak at this low clock: only the 788 TFLOPS measured on an H200 speak against it.
    capped = samples(1480, power_w=695.0, reasons=4)
    id, status, text = only(judged(rate("product", "bf16", 560.0), seen=capped))
    assert (id, status) == ("bench.compute-slow", Status.WARNED)
    assert "71% of the 788 TFLOPS measured on a NVIDIA H200 elsewhere" in text
    assert judged(rate("product", "bf16", 560.0), traits=UNLISTED, seen=capped).status is Status.PASSED


def test_an_unsteady_rate_is_said() -> None:
    found = judged(rate(spread=0.12), rate("copy", "", 4300.0, spread=NAN))
    assert found.status is Status.PASSED
    assert "Unsteady, by the spread of its groups: product in fp16 (12%), copy (nan%)" in found.reason


def test_rates_between_gpus_make_that_phase_and_wrong_bytes_fail_it() -> None:
    found = judge_rates([rate("peer copy", "", 380.0, error=0.0)], H200)
    assert (found.name, found.status) == ("between GPUs", Status.PASSED)
    wrong = judge_rates([rate("peer copy", "", 380.0, error=1e-9)], H200)
    assert only(wrong)[0] == "bench.numerics-wrong"


def test_nothing_timed_is_never_green() -> None:
    assert judge_rates([], H200).status is Status.SKIPPED
    assert judge_rates([rate()], None).status is Status.SKIPPED


# the clocks


@pytest.mark.parametrize(
    ("clock", "power", "reasons", "said"),
    [
        (1830, 600.0, 0, ""),
        (1700, 600.0, 0, ""),
        (1500, 695.0, 4, ""),  # its power is used up: normal
        (1500, None, 4, ""),
        (1500, 300.0, 4, "held at a power of 300 W, below its own limit of 700 W"),
        (1200, 300.0, 2, "somebody has set its clocks so low"),
        (1200, 300.0, 0, "the driver tells no reason"),
        (1830, 600.0, 0x80, "hardware power brake"),
        (None, None, 0x20, "software thermal slowdown"),
    ],
)
def test_what_held_the_clock_back(clock: int | None, power: float | None, reasons: int, said: str) -> None:
    found = judged(rate("product", "fp64"), seen=samples(clock, power_w=power, reasons=reasons))
    texts = [one.text for one in found.judgements]
    assert [one.status for one in found.judgements] == [Status.WARNED] * bool(said)
    assert all(said in text for text in texts)


def test_one_sample_of_a_slowdown_is_a_spike() -> None:
    spike = [*samples(number=9, reasons=0), *samples(number=1, reasons=0x40)]
    assert judged(rate(), seen=spike).status is Status.PASSED
    assert judged(rate(), seen=[*spike, *samples(number=1, reasons=0x40)]).status is Status.WARNED


# the table


def test_the_formula_gives_the_rated_tensor_peak_of_every_row_that_is_trusted() -> None:
    compared = 0
    for row in TABLE["gpus"]:
        gpu = rated_gpu(row["match"][0], row["sm"])
        assert gpu is not None
        assert gpu.name == row["name"]
        for precision, rated in row["rated"].items():
            adds = multiply_adds(gpu.capability, row["match"][0], row["sm"], precision)
            clock = row["boost_mhz"] if precision == "fp32" else row.get("tensor_mhz", row["boost_mhz"])
            if gpu.formula_holds(precision):
                assert adds is not None, (gpu.name, precision)
                assert adds.certain
                assert row["sm"] * clock * adds.number * 2e-6 == pytest.approx(rated, rel=0.08), (gpu.name, precision)
                compared += 1
    assert compared > 200


def test_every_measured_row_and_source_is_of_the_table() -> None:
    names = {row["name"] for row in TABLE["gpus"]}
    assert {row["gpu"] for row in TABLE["measured"]} <= names
    used = {name for row in TABLE["gpus"] for name in row["source"]} | {row["source"] for row in TABLE["measured"]}
    assert used <= TABLE["source_names"].keys()
    assert sorted(TABLE["source_names"].values()) == list(range(len(TABLE["sources"])))
    h200 = rated_gpu("NVIDIA H200", 132)
    assert h200 is not None
    measured = measured_rate(h200, "copy")
    assert measured is not None
    assert measured.rate == 4300
    assert measured_rate(h200, "fp32") is None


@pytest.mark.parametrize(
    ("name", "sm_count", "row"),
    [
        ("NVIDIA H200", 132, "NVIDIA H200"),
        ("NVIDIA H200 NVL", 132, "NVIDIA H200 NVL"),
        ("NVIDIA GH200 480GB", 132, "NVIDIA GH200"),
        ("NVIDIA A100-SXM4-80GB", 108, "NVIDIA A100-SXM4-80GB"),
        ("NVIDIA GeForce RTX 4070 Ti SUPER", 66, "NVIDIA GeForce RTX 4070 Ti SUPER"),
        ("NVIDIA GeForce RTX 3080", 70, None),  # the edition with 12 GB under the name of the other
        ("NVIDIA GeForce RTX 3050 6GB", 18, None),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", 76, None),
        ("NVIDIA GeForce RTX 2080 with Max-Q Design", 46, None),
        ("NVIDIA A100-SXM4-80GB MIG 7g.80gb", 108, None),
        ("GRID T4-16Q", 40, None),
        ("NVIDIA T400", 40, None),
        ("NVIDIA H100 80GB HBM3", 132, "NVIDIA H100 80GB HBM3"),
    ],
)
def test_names(name: str, sm_count: int, row: str | None) -> None:
    found = rated_gpu(name, sm_count)
    assert (found.name if found else None) == row


def test_small_turing_cards_without_tensor_cores_have_no_peak_in_16_bits() -> None:
    assert multiply_adds((7, 5), "NVIDIA T1000", 14, "fp16") is None
    assert multiply_adds((7, 5), "NVIDIA GeForce GTX 1660", 22, "fp16") is None
    assert multiply_adds((7, 0), "Tesla V100-SXM2-16GB", 80, "bf16") is None
