"""GPUs of one model in one machine, held against each other: the sharpest yardstick there is, without any table.

A GPU is given by its uuid, or whatever else the caller tells it apart by.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

from gpudoctor.bench.measures import Rate, Replayed, Traits
from gpudoctor.bench.result import Judgement, PhaseResult, Status, by_the_worst
from gpudoctor.bench.words import amount

ID = "bench.peer-slower"
HASH_ID = "bench.replay-differs"

# Of the median of a model's GPUs. SuperBench calls 5 % below its baseline defective; healthy GPUs of one model lie
# within 3 % of each other, so that three times the warning's distance is no matter of luck.
WARN_BELOW = 0.95
FAIL_BELOW = 0.85

# Of two that differ nobody knows which is as it should be: the slower is named, and no more.
ENOUGH_TO_FAIL = 3

# The links are left out: GPUs share switches and sockets with each other, and are healthy behind all of them.
COMPARED = ("product", "copy", "convolution", "training")


class Peer(NamedTuple):
    """What one GPU brings into the comparison."""

    name: str  # for a person: "GPU 3"
    traits: Traits
    rates: Sequence[Rate] = ()
    replays: Sequence[Replayed] = ()


def judge_peers(peers: Mapping[str, Peer]) -> dict[str, PhaseResult]:
    """The phase peers of each GPU that has a peer of its model; the others are not in the answer."""
    results: dict[str, PhaseResult] = {}
    for group in _models(peers):
        found, compared = _slower(group)
        wrong, voted = judge_hashes({key: peer.replays for key, peer in group.items()}, _names(group))
        for key in group:
            judgements = [*wrong.get(key, ()), *found.get(key, ())]
            judged = [id for id, keys in ((ID, compared), (HASH_ID, voted)) if key in keys]
            results[key] = _result(len(group), judgements, judged, voted=key in voted)
    return results


def judge_hashes(
    replays: Mapping[str, Sequence[Replayed]], names: Mapping[str, str] | None = None
) -> tuple[dict[str, list[Judgement]], set[str]]:
    """A vote over what one training ended in on GPUs of one model: failures by GPU, and the GPUs that voted.

    Same precision and steps are compared; the majority is right. Without one, as between two, every GPU is named as a
    failure, since nobody can tell which computes wrongly. A GPU that disagrees with itself has no vote.
    """
    called = names or {}
    found: dict[str, list[Judgement]] = {}
    voted: set[str] = set()
    for precision, steps in dict.fromkeys((one.precision, one.steps) for own in replays.values() for one in own):
        votes = {
            key: one.first
            for key, own in replays.items()
            for one in own
            if (one.precision, one.steps) == (precision, steps) and one.first and one.first == one.second
        }
        if len(votes) < 2:
            continue
        voted |= votes.keys()
        (most, count), *_ = Counter(votes.values()).most_common(1)
        if count == len(votes):
            continue
        decided = count * 2 > len(votes)
        for key, vote in votes.items():
            if decided and vote == most:
                continue
            others = [called.get(other, other) for other in votes if other != key and votes[other] != vote]
            text = _lost(precision, steps, len(votes), count) if decided else _undecided(precision, steps, others)
            found.setdefault(key, []).append(Judgement(HASH_ID, Status.FAILED, f"training in {precision}", text))
    return found, voted


def _lost(precision: str, steps: int, of: int, count: int) -> str:
    return (
        f"The same training of {steps} steps in {precision} ends in other bits on this GPU than on {count} of the "
        f"{of} of its model: this GPU computes wrongly, and does so every time."
    )


def _undecided(precision: str, steps: int, others: Sequence[str]) -> str:
    return (
        f"The same training of {steps} steps in {precision} ends in other bits on this GPU than on "
        f"{', '.join(others)}, of the same model: one of them computes wrongly, and without a majority it cannot be "
        "told which."
    )


def _models(peers: Mapping[str, Peer]) -> Iterable[dict[str, Peer]]:
    """Groups of at least two of one model; the number of multiprocessors parts editions of one name."""
    groups: dict[tuple[Any, ...], dict[str, Peer]] = {}
    for key, peer in peers.items():
        model = (peer.traits.name, peer.traits.capability, peer.traits.sm_count)
        groups.setdefault(model, {})[key] = peer
    return [group for group in groups.values() if len(group) > 1]


def _slower(group: Mapping[str, Peer]) -> tuple[dict[str, list[Judgement]], set[str]]:
    found: dict[str, list[Judgement]] = {}
    compared: set[str] = set()
    rates = {
        key: {(rate.what, rate.precision, rate.detail): rate for rate in peer.rates if rate.what in COMPARED}
        for key, peer in group.items()
    }
    for kind in dict.fromkeys(kind for own in rates.values() for kind in own):
        # A rate that is no number is judged where it was measured, and spoils no median here.
        known = {key: own[kind] for key, own in rates.items() if kind in own and own[kind].median > 0}
        if len(known) < 2:
            continue
        compared |= known.keys()
        middle = median(rate.median for rate in known.values())
        for key, rate in known.items():
            share = rate.median / middle
            if share >= WARN_BELOW:
                continue
            fails = share < FAIL_BELOW and len(known) >= ENOUGH_TO_FAIL
            what = f"{rate.what} in {rate.precision}" if rate.precision else rate.what
            text = (
                f"The {what} reaches {amount(rate.median)} {rate.unit}: {share:.1%} of the median of the {len(known)} "
                f"GPUs of this model here ({amount(middle)}); they should lie within {1 - WARN_BELOW:.0%} of it."
            )
            status = Status.FAILED if fails else Status.WARNED
            found.setdefault(key, []).append(Judgement(ID, status, what, text))
    return found, compared


def _result(number: int, judgements: list[Judgement], judged: list[str], *, voted: bool) -> PhaseResult:
    numbers = {"gpus": number, "judged": judged}
    if judgements:
        return by_the_worst("peers", judgements, numbers)
    if not judged:
        return PhaseResult("peers", Status.SKIPPED, "Its peers ran nothing that could be compared.", [], numbers)
    same = " and end in the same bits" if voted else ""
    return PhaseResult("peers", Status.PASSED, f"The {number} GPUs of this model are alike{same}.", [], numbers)


def _names(group: Mapping[str, Peer]) -> dict[str, str]:
    return {key: peer.name for key, peer in group.items()}
