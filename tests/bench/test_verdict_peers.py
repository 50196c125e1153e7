"""GPUs of one model against each other: the slower one is named, and the vote on what a training ended in."""

import pytest
from bench_measurements import H200, L4, rate, replay

from gpudoctor.bench.measures import Rate, Replayed, Traits
from gpudoctor.bench.result import Status
from gpudoctor.bench.verdicts.peers import Peer, judge_hashes, judge_peers


def peers(*medians: float, what: str = "product", traits: Traits = H200) -> dict[str, Peer]:
    return {str(place): Peer(f"GPU {place}", traits, [rate(what, "", m)]) for place, m in enumerate(medians)}


def statuses(found: dict[str, Peer]) -> list[Status]:
    judged = judge_peers(found)
    return [judged[key].status for key in found]


def test_gpus_that_are_alike_pass() -> None:
    judged = judge_peers(peers(100.0, 98.0, 101.0, 96.0))
    assert {one.status for one in judged.values()} == {Status.PASSED}
    assert judged["0"].numbers["judged"] == ["bench.peer-slower"]
    assert judged["0"].reason == "The 4 GPUs of this model are alike."


def test_the_slow_one_of_several_is_named() -> None:
    assert statuses(peers(100.0, 94.0, 100.0)) == [Status.PASSED, Status.WARNED, Status.PASSED]
    judged = judge_peers(peers(100.0, 84.0, 100.0))["1"]
    (judgement,) = judged.judgements
    assert (judgement.id, judgement.status) == ("bench.peer-slower", Status.FAILED)
    assert "reaches 84 TFLOPS: 84.0% of the median of the 3 GPUs of this model here (100)" in judgement.text


def test_of_two_the_slower_is_a_warning_at_most() -> None:
    assert statuses(peers(100.0, 40.0)) == [Status.PASSED, Status.WARNED]


def test_links_are_not_compared_and_other_models_neither() -> None:
    assert statuses(peers(50.0, 20.0, 50.0, what="to device")) == [Status.SKIPPED] * 3
    mixed = {"a": Peer("GPU 0", H200, [rate()]), "b": Peer("GPU 1", L4, [rate(median=100.0)])}
    assert judge_peers(mixed) == {}
    assert judge_peers({}) == {}


@pytest.mark.parametrize("median", [float("nan"), 0.0])
def test_a_rate_that_is_no_number_is_no_peer(median: float) -> None:
    judged = judge_peers(peers(100.0, median, 100.0))
    assert judged["0"].status is Status.PASSED
    assert judged["1"].status is Status.SKIPPED


def test_other_shapes_are_not_compared() -> None:
    def one(detail: str, median: float) -> Peer:
        timed: list[Rate] = [rate(median=median, detail=detail)]
        return Peer("GPU", H200, timed)

    judged = judge_peers({"a": one("8192", 100.0), "b": one("4096", 50.0)})
    assert {result.status for result in judged.values()} == {Status.SKIPPED}


# the vote


def test_the_majority_is_right() -> None:
    found, voted = judge_hashes({"a": [replay("11")], "b": [replay("22")], "c": [replay("11")]})
    assert voted == {"a", "b", "c"}
    assert list(found) == ["b"]
    (judgement,) = found["b"]
    assert (judgement.id, judgement.status) == ("bench.replay-differs", Status.FAILED)
    assert "in other bits on this GPU than on 2 of the 3 of its model" in judgement.text


@pytest.mark.parametrize("bits", [("11", "22"), ("11", "22", "33"), ("11", "11", "22", "22"), ("11", "11", "22", "33")])
def test_without_a_majority_all_are_named_and_none_is_blamed(bits: tuple[str, ...]) -> None:
    found, _ = judge_hashes({str(place): [replay(one)] for place, one in enumerate(bits)}, {"0": "GPU 0", "1": "GPU 1"})
    assert list(found) == [str(place) for place in range(len(bits))]
    assert all("cannot be told which" in one.text for judgements in found.values() for one in judgements)
    assert "than on GPU 1" in found["0"][0].text or bits[0] == bits[1]


def test_a_gpu_that_disagrees_with_itself_has_no_vote() -> None:
    unstable = [replay("33", "44")]
    found, voted = judge_hashes({"a": [replay("11")], "b": [replay("11")], "c": unstable})
    assert found == {}
    assert voted == {"a", "b"}
    assert judge_hashes({"a": [replay("11")], "c": unstable}) == ({}, set())


def test_each_precision_and_length_has_its_own_vote() -> None:
    def ran(single: str, half: str) -> list[Replayed]:
        return [replay(single), replay(half, precision="fp16")]

    found, _ = judge_hashes({"a": ran("11", "55"), "b": ran("11", "66"), "c": ran("11", "55")})
    assert [(key, one.subject) for key, judged in found.items() for one in judged] == [("b", "training in fp16")]
    assert judge_hashes({"a": [replay("11", steps=20)], "b": [replay("22", steps=30)]}) == ({}, set())


def test_the_vote_is_part_of_the_phase() -> None:
    ended = {"a": "11", "b": "22", "c": "11"}
    judged = judge_peers({key: Peer(key, H200, [rate()], [replay(bits)]) for key, bits in ended.items()})
    assert [judged[key].status for key in ended] == [Status.PASSED, Status.FAILED, Status.PASSED]
    assert judged["a"].reason == "The 3 GPUs of this model are alike and end in the same bits."
    assert judged["a"].numbers["judged"] == ["bench.peer-slower", "bench.replay-differs"]
