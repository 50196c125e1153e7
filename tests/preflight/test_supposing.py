"""Facts as if the machine were another: what follows from what is supposed is found out anew, the rest is kept."""

from typing import NamedTuple

import pytest

from gpudoctor.host import Host, Unavailable
from gpudoctor.registry import Facts, fact, registry
from gpudoctor.snapshot import SnapshotHost


class Ground(NamedTuple):
    number: int


class Beside(NamedTuple):
    number: int


class Wall(NamedTuple):
    number: int


class Roof(NamedTuple):
    words: str


asked: list[str] = []


@pytest.fixture(autouse=True)
def house() -> object:
    """Four facts, each found out from those below it."""

    @fact
    def ground(host: Host) -> Ground:
        asked.append("ground")
        return Ground(1)

    @fact
    def beside(host: Host) -> Beside:
        asked.append("beside")
        return Beside(1)

    @fact
    def wall(ground: Ground) -> Wall:
        return Wall(ground.number + 1)

    @fact
    def roof(wall: Wall | Unavailable, beside: Beside) -> Roof:
        return Roof(f"{wall if isinstance(wall, Unavailable) else wall.number} {beside.number}")

    asked.clear()
    yield None
    for kind in (Ground, Beside, Wall, Roof):
        del registry.providers[kind]


def test_what_follows_is_found_out_anew_and_the_rest_is_kept() -> None:
    facts = Facts(SnapshotHost({}))
    assert facts.get(Roof) == Roof("2 1")
    supposed = facts.supposing({Ground: Ground(7)})
    assert supposed.get(Roof) == Roof("8 1")
    assert asked == ["ground", "beside"], "nothing is asked of the machine twice"
    assert facts.get(Roof) == Roof("2 1")


def test_what_is_known_already_replaces_nothing() -> None:
    facts = Facts(SnapshotHost({}))
    known = facts.get(Wall)
    supposed = facts.supposing({Ground: Ground(7), Wall: known})
    assert supposed.get(Wall) is known, "it stands, whatever it was found out from"
    assert supposed.get(Roof) == Roof("2 1")


def test_a_reason_can_be_supposed_in_place_of_a_fact() -> None:
    facts = Facts(SnapshotHost({})).supposing({Ground: Unavailable("nobody knows yet")})
    assert facts.get(Roof) == Roof("nobody knows yet 1")
    with pytest.raises(Unavailable, match="nobody knows yet"):
        facts.get(Wall)


def test_what_is_supposed_itself_is_not_found_out_from_below() -> None:
    facts = Facts(SnapshotHost({})).supposing({Ground: Ground(7), Wall: Wall(100)})
    assert facts.get(Roof) == Roof("100 1")
