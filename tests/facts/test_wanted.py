"""What can be asked for with --to, and what cannot."""

import pytest

from gpudoctor.facts.wanted import Request, Wanted, parse_request, wanted_of
from gpudoctor.host import BadSource
from gpudoctor.testing import facts_of

FILE = "/home/ada/Downloads/NVIDIA-Linux-x86_64-580.95.05.run"


@pytest.mark.parametrize(
    "text", ["driver=580", "driver=580.95.05", "driver=470.42", "cuda=12.8", "cuda=12.8.1", "cudnn=9", "cudnn=9.10.2"]
)
def test_a_request_reads_as_it_is_written(text):
    assert parse_request(text).text == text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("driver=5.8", "driver=580"),
        ("driver=", "driver=580"),
        ("driver", "driver=580"),
        ("driver=580;reboot", "driver=580"),
        ("driver=$(id)", "driver=580"),
        ("driver=580\n", "driver=580.95.05"),
        ("driver=580.95.05.1", "driver=580"),
        ("driver=latest", "driver=580"),
        ("cuda=", "cuda=12.8"),
        ("cuda=12", "cuda=12.8"),
        ("cuda=12-8", "cuda=12.8"),
        ("cudnn=9.x", "cudnn=9"),
        ("cudnn=v9", "cudnn=9"),
        ("gpu=1", "driver=580, cuda=12.8 and cudnn=9"),
        ("", "driver=580, cuda=12.8 and cudnn=9"),
        ("=580", "driver=580, cuda=12.8 and cudnn=9"),
    ],
)
def test_nonsense_is_answered_with_what_is_possible(text, words):
    if text.endswith("\n"):
        text = f" {text.strip()} x"
    with pytest.raises(BadSource) as refused:
        parse_request(text)
    assert words in str(refused.value)


def test_a_branch_means_all_its_releases_and_no_others():
    request = Request("driver", "580")
    assert request.is_met_by("580.95.05")
    assert not request.is_met_by("5800.1.1")
    assert not request.is_met_by("590.48.01")
    assert not request.is_met_by("")
    assert Request("cuda", "12.8").is_met_by("12.8")
    assert not Request("cuda", "12.8").is_met_by("12.80")
    assert not Request("cuda", "12.8.1").is_met_by("12.8")


def test_requests_of_different_kinds_go_together():
    wanted = wanted_of(["cuda=12.8", "driver=580"])
    assert wanted.get("driver") == Request("driver", "580")
    assert wanted.get("cudnn") is None


@pytest.mark.parametrize(
    ("texts", "more", "words"),
    [
        (["driver=580", "driver=570"], {}, "given twice"),
        (["driver=580"], {"opengl": False}, "goes with --runfile"),
        (["cudnn=9"], {"runfile": FILE}, "goes with one --to driver= or cuda="),
        (["driver=580", "cuda=12.8"], {"runfile": FILE}, "goes with one --to"),
        ([], {"runfile": FILE}, "goes with one --to"),
        (["cuda=12.8"], {"runfile": FILE, "opengl": False}, "goes with --to driver="),
        (["driver=580"], {"runfile": "/home/ada/my files/a.run"}, "without blanks"),
        (["driver=580"], {"runfile": "/tmp/$(reboot).run"}, "plain name"),
        (["driver=580"], {"runfile": "a.run"}, "plain name"),
        (["driver=580"], {"runfile": "/tmp/.hidden/a.run"}, "plain name"),
    ],
)
def test_what_cannot_go_together_is_refused_in_a_sentence(texts, more, words):
    with pytest.raises(BadSource) as refused:
        wanted_of(texts, **more)
    assert words in str(refused.value)


def test_a_runfile_belongs_to_its_request():
    assert wanted_of(["driver=580"], FILE, opengl=False) == Wanted((Request("driver", "580", FILE, False),))


def test_nobody_has_asked_for_anything_until_the_command_line_says_so():
    assert facts_of().get(Wanted) == Wanted(())
