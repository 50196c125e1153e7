"""What stands around a message and tells what it means: patterns for `beside=` and `without=` of symptoms."""

CONTAINER = (
    r"docker|podman|\bcontainerd?s?\b|kubernetes|kubectl|\bk8s\b|\bpods?\b|singularity|apptainer|\benroot\b|\bcri-?o\b"
)
HOST_WORKS = (
    r"\bhosts?\b.{0,50}\b(works|working|fine|normal|OK|good)\b"
    r"|\b(works|working|fine|normal|OK|good)\b.{0,30} the host\b"
)
# What worked in a container stopped later, and a new start of the container brings it back.
LATER = (
    r"daemon-reload|\bafter (about |around )?(a few|some|several|\d+(-\d+)?) (hours|days)|\bafter (a while|some time)\b"
    r"|\b(idle|running|up) for (a |an |some |several |extended )*(while|time|hours?|days?|period)"
    r"|\bloses? (the )?gpus?\b"
)
RESTART_HELPS = r"\brestart\w* (the |docker |my |this )*containers? (\w+ )?(fix|help|resolv|restor|solv|work)"
# A container that was started by hand, and the ways in which one asks for a GPU.
STARTED = r"(docker|podman|nerdctl)( container)? (run|exec|create)\b|docker[ -]compose|docker build"
# What is said there concerns the image, and the disk that holds images.
IMAGE_BUILD = (
    r"docker(x)?( build\w*)? build\b|buildkit|failed to (solve|register layer)|executor failed running"
    r"|/var/lib/(docker|containerd|containers)\b"
)
GPU_ASKED = r"--gpus|--runtime[= ]nvidia|nvidia\.com/gpu|driver: nvidia|gpus: all|capabilities: ?\[|runtime: nvidia"
WSL = r"\bWSL[12]?\b|microsoft-standard|/usr/lib/wsl|/dev/dxg"
MAC = r"\bmacOS\b|\bMac OS X\b|\bMacBook|\bApple (M\d|Silicon)"
SNAP = r"snap install docker|/snap/bin/docker|/var/snap/docker|snap\.docker|docker.{0,40}\bsnap\b|\bsnap\b.{0,30}docker"
DESKTOP = r"docker[ -]desktop|desktop-linux"
AFTER_SLEEP = (
    r"\b(after|since|from|following) (\w+ ){0,3}(resum\w+|suspen\w+|sleep\w*|hibernat\w+|standby|waking|wake)\b"
    r"|\bwak(es|ing) up\b|\bwoke up\b|\buntil (\w+ ){0,4}(suspend|sleep)"
    r"|\b(as soon as|once|when|whenever|every time) (\w+ ){0,3}(suspend|hibernate)|\bput\w* (\w+ ){0,3}to sleep\b"
)
ASLEEP = rf"{AFTER_SLEEP}|\bPM: (suspend|hibernation) (entry|exit)"
TROUBLE = (
    r"\b(no|not|never|fail(s|ed|ure)?|stop(s|ped)?|broken?|breaks|error|unknown|lost|cannot|un(able|available))\b|n't\b"
)
# A reboot did not help.
REBOOTED = (
    r"\b(even|still|also|persists?) after (a |the |several |multiple |many )?(re-?boot|restart)"
    r"|re-?boot(s|ing|ed)?\b.{0,30}(\bnot|n't|\bno) (help|fix|change|solve|work)"
    r"|\b(already|have|I've) (re-?booted|restarted)|surviv\w+ (a |the )?re-?boot|after (each|every) re-?boot"
)
RUNFILE = r"NVIDIA-Linux-x86_64-[\d.]+\S*\.run|nvidia-uninstall|\brunfile\b|\.run (file|installer)"
NEW_KERNEL = (
    r"kernel (update|upgrade)|(updat|upgrad)\w+ (\w+ ){0,3}kernel|new(er)? kernel|(older|old|previous) kernel"
    r"|(apt|dnf|yum|pacman|zypper) \S*upgrade"
)

# Faults of a module's build that name themselves.
OTHER_BUILD_FAULTS = (
    r"kernel headers for|/build: No such file|autoconf\.h: No such file|unrecognized command.line option"
    r"|cc_version_check|ompiler version check|Failed CC version check|Failed build dependencies|No space left"
)
# nvidia-smi's sentence, and how people say it after it.
UNREACHABLE = (
    r"(could|can?)(n't| ?not| no longer) (communicate with|talk to|reach|connect to) (the )?(NVIDIA )?driver"
    r"|(fail\w*|unable) to communicate with the NVIDIA driver"
)
NO_MODULE = rf"{UNREACHABLE}|not found in directory /lib/modules"
SECURE_BOOT_OFF = r"secure ?boot\b.{0,20}\b(disabled|off|inactive)\b|(disabl\w+|turn\w* off) secure ?boot"
REMOVAL = r"\b(Remove|Purge): .{0,400}nvidia|auto-?remove|\bRemoving nvidia|\b(after|since) .{0,20}(update|upgrad)"
# Of a package of the driver that cannot be installed, and of those who make such packages beside the distribution.
DEPENDS = r"nvidia\S* : (Pre)?Depends: \S+( \(.*\))? but .*(installed|installable)"
ORIGINS = r"developer\.download\.nvidia|graphics-drivers|rpmfusion|negativo17|~?bpo\d|backports|-[01]ubuntu1\b"
# Of the ptxas of a toolkit or a wheel: the driver's own says "application ptx input" in the place of a file.
ANOTHER_PTXAS = r"\bptxas (?!application ptx input)(\S+, line \d+; ?)?fatal ?: Unsupported \.version"
# XLA remarks that the driver is older than its ptxas, and works: with nothing else it tells of no fault.
MORE_OF_XLA = r"Traceback|[a-z]Error\b|CUDA_ERROR|\bfail(s|ed|ure)\b"
GPU_REFUSED = (
    r"could not select device driver \S* ?with capabilities: \[\["
    r"|initialization error: load library failed: libnvidia-ml|unknown or invalid runtime name: nvidia"
)
NO_GPU = (
    r"Found no NVIDIA driver on your system|No CUDA GPUs are available|no CUDA-capable device is detected"
    r"|CUDA_ERROR_NO_DEVICE|lib(cuda|nvidia-ml)\.so(\.1)?: cannot open shared object"
    r"|nvidia-smi\W{1,4}(command |executable file )?not found"
)
SMI_TABLE = r"NVIDIA-SMI \d+\.\S+ +(KMD|Driver) Version: \d"
LINUX_DRIVER_IN_WSL = (
    r"install\b.{0,60} (nvidia-(utils|driver|compute)\S*|cuda|cuda-drivers)(\s|$)|libnvidia-compute-\d|nvidia-utils-\d"
)
