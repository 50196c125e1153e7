"""A simulation that somebody gives us: a file, or standard input; whose it is shows in its lines."""

from gpudoctor.host import BadSource
from gpudoctor.plain_files import read_named
from gpudoctor.preflight.apt_simulation import is_apt, read_apt
from gpudoctor.preflight.dnf_simulation import is_dnf, read_dnf
from gpudoctor.preflight.pacman_simulation import is_pacman, read_pacman
from gpudoctor.preflight.transaction import NoTransaction, Transaction

LIMIT = 8 * 1024 * 1024  # bytes; an upgrade of a whole release has less than one


def read_simulation(text: str, source: str) -> Transaction:
    """The transaction that apt, dnf or pacman planned. Raises NoTransaction, in words for the user, if it is none."""
    for is_of, read in ((is_apt, read_apt), (is_dnf, read_dnf), (is_pacman, read_pacman)):
        if is_of(text):
            return read(text, source)
    if not text.strip():
        raise NoTransaction(f"{source}: empty; that is no simulation")
    raise NoTransaction(
        f"{source}: no simulation: what `apt-get -s dist-upgrade`, `dnf --assumeno upgrade` or "
        "`pacman -Sup --print-format '%n %v'` print is expected (with LC_ALL=C)"
    )


def simulation_in(path: str) -> Transaction:
    """The same of a file; "-" is standard input. Raises NoTransaction for what cannot be read, too."""
    source = "standard input" if path == "-" else path
    try:
        data = read_named(path, LIMIT + 1, standard_input=True)
    except BadSource as reason:
        raise NoTransaction(str(reason)) from None
    if len(data) > LIMIT:
        raise NoTransaction(f"{source}: more than {LIMIT >> 20} MiB; that is no simulation")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise NoTransaction(f"{source}: not a text; that is no simulation")
    return read_simulation(text.replace("\r\n", "\n"), source)
