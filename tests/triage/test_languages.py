"""Messages of dpkg, apt, the C library and others in the languages of their catalogues."""

import pytest

from gpudoctor.triage.judge import triage
from gpudoctor.triage.paste import read_paste


@pytest.mark.parametrize(
    ("said", "english"),
    [
        (
            "E: Probleme können nicht korrigiert werden, Sie haben zurückgehaltene defekte Pakete.",
            "E: Unable to correct problems, you have held broken packages.",
        ),
        (
            "nvidia-driver-535 : Hängt ab von: libnvidia-gl-535 (= 535.1) soll aber nicht installiert werden",
            "nvidia-driver-535 : Depends: libnvidia-gl-535 (= 535.1) but it is not going to be installed",
        ),
        (
            "Versuch, »/usr/lib/x.so« zu überschreiben, welches auch in Paket libnvidia-compute-535 535.1-0 ist",
            "trying to overwrite '/usr/lib/x.so', which is also in package libnvidia-compute-535 535.1-0",
        ),
        ("bash: nvcc\u00a0: commande introuvable", "bash: nvcc: command not found"),
        (
            "dpkg: erreur de traitement du paquet nvidia-dkms-550 (--configure)\u00a0:",
            "dpkg: error processing package nvidia-dkms-550 (--configure):",
        ),
        (
            "modprobe: ERROR: could not insert 'nvidia': La clave fue rechazada por el servicio",
            "modprobe: ERROR: could not insert 'nvidia': Key was rejected by service",
        ),
        (
            "libcudart.so.12: no se puede abrir el fichero del objeto compartido: No existe el fichero o el directorio",
            "libcudart.so.12: cannot open shared object file: No such file or directory",
        ),
        ("could not insert 'nvidia': 键值被服务所拒绝", "could not insert 'nvidia': Key was rejected by service"),
    ],
)
def test_a_known_message_is_read_in_english(said: str, english: str) -> None:
    assert read_paste(said).lines[0].text == english


def test_proof_is_shown_as_it_was_pasted() -> None:
    said = "modprobe: ERROR: could not insert 'nvidia': La clé a été rejetée par le service"
    found = triage(said).report.findings[0]
    assert found.check.id == "kernel.secure-boot-blocks-module"
    assert [one.value for one in found.finding.evidence] == [said]


def test_what_is_known_of_no_program_stays() -> None:
    assert read_paste("Mein Treiber läuft nicht").lines[0].text == "Mein Treiber läuft nicht"
