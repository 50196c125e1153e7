"""Pieces of the patterns of several checks."""

# What people write after a question to a program whose answer was no.
ANSWERS_FALSE = (
    r"['\"`]?[\s:=>#,-]*((is|was|returns?|returned|returning|gives?|prints?|says?|shows?|reports|evaluates to"
    r"|always|only|still|keeps|stays|remains) )*`?False\b"
)
