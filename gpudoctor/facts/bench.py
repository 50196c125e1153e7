"""What the last benchmark of each GPU found, as `gpudoctor bench` left it in its state folder."""

from collections.abc import Mapping
from typing import NamedTuple

from gpudoctor.facts.answers import Nvml, NvmlGpu
from gpudoctor.facts.environment import Environment
from gpudoctor.facts.loaded import LoadedDriver
from gpudoctor.facts.system import Boot
from gpudoctor.host import Host, NotRecorded, NotRunning, Unavailable
from gpudoctor.registry import fact


class BenchVerdict(NamedTuple):
    """One thing that a benchmark found not to be as it should. `check`: the id of the check that explains it."""

    check: str
    failed: bool  # False: a warning
    subject: str  # "product in fp16"
    text: str  # one sentence, with the numbers


class BenchedGpu(NamedTuple):
    """The last benchmark of one GPU."""

    name: str  # "NVIDIA H200"
    uuid: str  # "GPU-..." or "MIG-...", "" unknown
    pci_address: str  # "0000:18:00.0", "" unknown
    driver: str  # "580.95.05", "" unknown
    at: float  # seconds since the epoch
    level: str  # "quick", "default", "burn"
    judged: tuple[str, ...]  # ids of the checks that it has a verdict on, good or bad
    not_judged: Mapping[str, str]  # phase to why it was not measured
    verdicts: tuple[BenchVerdict, ...]
    source: str  # the file's path


class BenchRecord(NamedTuple):
    """Of each GPU the newest of what root's and this user's records say."""

    gpus: tuple[BenchedGpu, ...]
    unread: tuple[str, ...]  # records that may be there and could not be read, with the reason


class CurrentBench(NamedTuple):
    """Of the record what still counts: measured on a GPU that is here, with this driver, since the last restart."""

    gpus: tuple[BenchedGpu, ...]
    outdated: tuple[str, ...]  # why the others count no more, a clause each
    unknown: tuple[str, ...]  # why it cannot be told of others whether they count
    unread: tuple[str, ...]  # as of the record


NAME = "bench.json"
SCHEMA = 1
_ROOTS_FOLDER = "/var/lib/gpudoctor"
_END_OF_TIME = 1 << 40  # seconds; later than every date that can be written down
_LARGEST = 4 * 1024 * 1024  # bytes; a GPU takes about one KiB


@fact
def bench_record(host: Host, environment: Environment | Unavailable) -> BenchRecord:
    """From /var/lib/gpudoctor and the user's own folder. Raises Unavailable if the only record is damaged."""
    variables = environment.variables if isinstance(environment, Environment) else {}
    newest: dict[str, BenchedGpu] = {}
    unread: list[str] = []
    damaged: list[str] = []
    for folder in _folders(variables):
        path = f"{folder}/{NAME}"
        try:
            text = host.read(path, first=_LARGEST)
        except NotRunning:
            continue  # a state folder below /run or the like, on a disk
        except NotRecorded:
            continue  # the machine was recorded before there was a benchmark to ask for
        except Unavailable as reason:
            unread.append(str(reason))
            continue
        if text is None:
            continue
        try:
            gpus = read_record(text, path)
        except Unavailable as reason:
            damaged.append(str(reason))
            continue
        for gpu in gpus:
            key = gpu.uuid or gpu.pci_address or gpu.name
            if key not in newest or newest[key].at < gpu.at:
                newest[key] = gpu
    if damaged and not newest:
        raise Unavailable("; ".join(damaged))
    return BenchRecord(tuple(newest.values()), (*unread, *damaged))


@fact
def current_bench(
    record: BenchRecord, nvml: Nvml | Unavailable, driver: LoadedDriver | Unavailable, boot: Boot | Unavailable
) -> CurrentBench:
    """By UUID (of a MIG slice by address), driver version and the time of the start.

    Raises NotRunning where there is a record and the system that would tell does not run.
    """
    current: list[BenchedGpu] = []
    outdated: list[str] = []
    unknown: list[str] = []
    for gpu in record.gpus:
        told = [one for one in (boot, driver, nvml) if isinstance(one, Unavailable)]
        why = _outdated(gpu, nvml, driver, boot)
        if why:
            outdated.append(why)
        elif told:
            words = "whether the benchmark on record still counts cannot be told"
            if isinstance(told[0], NotRunning):
                raise NotRunning(f"{words}: {str(told[0]).rpartition(': ')[2]}")
            unknown.append(f"{words}: {told[0]}")
        else:
            current.append(gpu)
    return CurrentBench(tuple(current), tuple(outdated), tuple(unknown), record.unread)


def _outdated(
    gpu: BenchedGpu, nvml: Nvml | Unavailable, driver: LoadedDriver | Unavailable, boot: Boot | Unavailable
) -> str:
    """Why a record counts no more, as far as it can be told; "" nothing speaks against it."""
    if isinstance(boot, Boot) and gpu.at < boot.time:
        return "it was run before the last restart"
    if isinstance(nvml, Nvml) and nvml.gpus and not any(_is_same(gpu, one) for one in nvml.gpus):
        return f"its GPU ({gpu.name}) is not here"
    version = driver.version if isinstance(driver, LoadedDriver) else ""
    version = version or (nvml.driver_version if isinstance(nvml, Nvml) else "")
    if gpu.driver and version and gpu.driver != version:
        return f"it was run with driver {gpu.driver}, and {version} is loaded"
    return ""


def _is_same(gpu: BenchedGpu, listed: NvmlGpu) -> bool:
    # NVML lists the card of a MIG slice, not the slice; CUDA before 12 gave no UUID of one.
    if gpu.uuid.startswith("GPU-") and listed.uuid:
        return gpu.uuid == listed.uuid
    return bool(gpu.pci_address) and gpu.pci_address == listed.pci_address


def read_record(text: str, path: str) -> tuple[BenchedGpu, ...]:
    """The GPUs of a record. Raises Unavailable for a text that is none."""
    import json  # here for start-up: most machines have no record

    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unavailable(f"{path} is damaged: {error}") from error
    match document:
        case {"schema": int(schema), "gpus": list(told)} if schema == SCHEMA:
            gpus = tuple(_gpu(one, path) for one in told)
        case {"schema": int(schema)}:
            raise Unavailable(f"{path} is a record of schema {schema}; this gpudoctor reads schema {SCHEMA}")
        case _:
            raise Unavailable(f"{path} is damaged: it is no record of a benchmark")
    if None in gpus:
        raise Unavailable(f"{path} is damaged: an entry is not whole")
    return tuple(gpu for gpu in gpus if gpu is not None)


def _folders(variables: Mapping[str, str]) -> tuple[str, ...]:
    """Where `gpudoctor.state` keeps it: for root, and for the user with these variables."""
    chosen = variables.get("GPUDOCTOR_STATE", "")
    if chosen.startswith("/"):
        return (chosen.rstrip("/"),)
    own = variables.get("XDG_STATE_HOME", "")
    if not own.startswith("/"):
        home = variables.get("HOME", "")
        own = f"{home.rstrip('/')}/.local/state" if home.startswith("/") else ""
    return (_ROOTS_FOLDER, f"{own.rstrip('/')}/gpudoctor") if own else (_ROOTS_FOLDER,)


def _gpu(told: object, path: str) -> BenchedGpu | None:
    match told:
        case {
            "name": str(name),
            "uuid": str(uuid),
            "pci_address": str(address),
            "driver": str(driver),
            "at": int() | float() as at,
            "level": str(level),
            "judged": list(judged),
            "not_judged": dict(not_judged),
            "judgements": list(judgements),
        } if 0 <= at < _END_OF_TIME:
            verdicts = tuple(_verdict(one) for one in judgements)
            if None in verdicts:
                return None
            return BenchedGpu(
                name,
                uuid,
                address,
                driver,
                float(at),
                level,
                tuple(str(id) for id in judged),
                {str(phase): str(reason) for phase, reason in not_judged.items()},
                tuple(verdict for verdict in verdicts if verdict is not None),
                path,
            )
        case _:
            return None


def _verdict(told: object) -> BenchVerdict | None:
    match told:
        case {"id": str(id), "status": "warned" | "failed" as status, "subject": str(subject), "text": str(text)}:
            return BenchVerdict(id, status == "failed", subject, text)
        case _:
            return None
