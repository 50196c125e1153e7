"""`python -m gpudoctor.probes NAME` prints the answer to one question as JSON."""

import sys

from gpudoctor.probes import main

main(" ".join(sys.argv[1:]))
