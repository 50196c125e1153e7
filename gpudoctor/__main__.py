"""`python -m gpudoctor` is the command `gpudoctor`."""

from gpudoctor.cli import main

main()
