"""Leaves out of a snapshot what no check judges by: other people's packages, other programs' logs, comments, names.

The trimmed answers must give the same facts as the whole ones.
"""

import re

from gpudoctor.facts.c_headers import relevant_header
from gpudoctor.facts.container import relevant_mounts
from gpudoctor.facts.distributions import metadata_head
from gpudoctor.facts.engine_settings import is_engine_file, relevant_engine_settings
from gpudoctor.facts.environment import relevant_environ, relevant_settings, sets_variables
from gpudoctor.facts.extensions import wheel_of_address
from gpudoctor.facts.fabric import LOG as FABRIC_LOG
from gpudoctor.facts.fabric import complaints
from gpudoctor.facts.interpreters import relevant_kernel
from gpudoctor.facts.kernel_log import FIRST_LINE, concerns_gpu, is_kernel_log
from gpudoctor.facts.package_log import is_package_log, relevant_log
from gpudoctor.facts.package_names import is_of_interest
from gpudoctor.facts.selinux import AUDIT_LOG, relevant_audit
from gpudoctor.facts.vgpu import (
    LICENSE_LOG,
    MANAGER_LOG,
    SETTINGS,
    TOKENS,
    relevant_license_lines,
    relevant_license_settings,
    relevant_manager_lines,
)
from gpudoctor.facts.wsl import STORE, drivers_of_nvidia
from gpudoctor.snapshot import Json

_STANZA_FIELDS = ("Package:", "Status:", "Version:", "Architecture:", "Maintainer:", "Depends:", "Pre-Depends:")
_CLEAN = re.compile(r"^Status: \S+ ok (installed|config-files|not-installed)$", re.M)
_FIRST_PERSON = 1000  # user ids below it are the system's own (login.defs)


def relevant(question: str, answer: Json) -> Json:
    """The answer to one question of a snapshot ("read /dev/kmsg", "run dmesg") without the rest."""
    if is_kernel_log(question):
        match answer:
            case str():
                return _messages(answer)
            case {"exit_code": code, "stdout": str(text), "stderr": error}:
                return {"exit_code": code, "stdout": _messages(text), "stderr": error}
    for log, trimmed in ((LICENSE_LOG, relevant_license_lines), (MANAGER_LOG, relevant_manager_lines)):
        if question == " ".join(("run", *log)) and isinstance(answer, dict):
            kept = trimmed(str(answer.get("stdout", "")).splitlines())
            return answer | {"stdout": "".join(f"{line}\n" for line in kept)}
    match question, answer:
        case _, list() if question == f"list {STORE}":
            return list(drivers_of_nvidia(tuple(map(str, answer))))
        case _, list() if question == f"list {TOKENS}":
            return [f"{number}.tok" for number, name in enumerate(answer) if str(name).endswith(".tok")]
    if not isinstance(answer, str) or not question.startswith("read "):
        return answer
    path = question.removeprefix("read ").partition(" last ")[0].partition(" first ")[0]
    if path == "/proc/self/environ":
        return relevant_environ(answer)
    if path.startswith(AUDIT_LOG):
        return relevant_audit(answer)
    if path == SETTINGS:
        return relevant_license_settings(answer)
    if path.startswith(FABRIC_LOG):
        return "".join(f"{line}\n" for line in complaints(answer))
    if path == "/proc/self/cmdline":
        return answer.partition("\0")[0]  # arguments are nobody's business
    if path.endswith(("/METADATA", "/PKG-INFO")) or path.endswith(".egg-info"):
        return metadata_head(answer)
    if path.endswith("/direct_url.json"):
        return wheel_of_address(answer)
    if path.endswith("/kernel.json"):
        return relevant_kernel(answer)
    if sets_variables(path):
        return relevant_settings(answer, path)
    if path.startswith("/var/lib/dpkg/status"):
        wanted = (_stanza(text) for text in answer.split("\n\n") if _is_wanted(text))
        return "".join(f"{stanza}\n\n" for stanza in wanted if stanza)
    if is_package_log(path):
        return relevant_log(answer)
    if path == "/run/.containerenv":
        return ""  # that it is there says it all; the names of container and image do not matter
    if path.startswith("/var/log/dpkg.log"):
        return "".join(f"{line}\n" for line in answer.splitlines() if _names_package(line))
    if is_engine_file(path):
        return relevant_engine_settings(answer, path)
    if path == "/proc/self/mountinfo":
        return relevant_mounts(answer)
    if path.endswith("os-release"):
        return _starting(answer, ("ID", "VERSION_ID", "PRETTY_NAME"))
    if path.endswith("make.log"):
        return "".join(f"{line}\n" for line in answer.splitlines() if re.search(_BUILD_WORDS, line))
    if path in ("/etc/passwd", "/etc/group"):
        return "".join(f"{_account(line)}\n" for line in answer.splitlines())
    if path.endswith(("/cuda.h", "/host_config.h", "/cudnn_version.h", "/cudnn.h", "/nccl.h")):
        return relevant_header(answer)
    if ".d/" in path and path.endswith(".conf") and not path.startswith("/etc/ld.so.conf.d/"):
        lines = (line.strip() for line in answer.splitlines())
        return "".join(f"{line}\n" for line in lines if line and not line.startswith("#"))
    return answer


# Lines of a DKMS build that say why it failed, see the fact about DKMS.
_BUILD_WORDS = re.compile(r"error|fatal|unrecognized|cc_version_check|kernel was built by|You are using", re.IGNORECASE)


def _messages(text: str) -> str:
    return "".join(f"{line}\n" for line in text.splitlines() if concerns_gpu(line) or FIRST_LINE in line)


def _starting(text: str, starts: tuple[str, ...]) -> str:
    return "".join(f"{line}\n" for line in text.splitlines() if line.startswith(starts))


def _is_wanted(stanza: str) -> bool:
    name = stanza.lstrip("\n").partition("\n")[0].removeprefix("Package: ").strip()
    return bool(name) and (is_of_interest(name) or not _CLEAN.search(stanza))


def _stanza(text: str) -> str:
    return _starting(text, _STANZA_FIELDS).rstrip("\n")


def _names_package(line: str) -> bool:
    return any(is_of_interest(word.partition(":")[0]) for word in line.split())


def _account(line: str) -> str:
    """System accounts stay; people's lines lose their names, and groups their members' names."""
    words = line.split(":")
    if len(words) == 7 and words[2].isdigit() and int(words[2]) >= _FIRST_PERSON:
        return ":".join([f"user{words[2]}", "x", words[2], words[3], "", f"/home/user{words[2]}", words[6]])
    if len(words) == 4 and words[2].isdigit() and int(words[2]) >= _FIRST_PERSON:
        return f"group{words[2]}:x:{words[2]}:"
    return ":".join([*words[:3], ""]) if len(words) == 4 else line
