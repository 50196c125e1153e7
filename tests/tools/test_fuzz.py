"""What is fuzzed is there: a parser that has moved is found in a second, and not after nine minutes."""

import fuzz
import pytest


@pytest.mark.parametrize("parser", fuzz.PARSERS, ids=str)
def test_every_parser_reads_what_it_is_given_first(parser: fuzz.Parser) -> None:
    assert fuzz.failure_of(parser, "") == ""
