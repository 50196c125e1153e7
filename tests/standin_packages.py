"""Small Debian packages in place of the driver's, and the local archive in a root from which its apt installs them."""

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from debian_roots import Root
from imaginary_machines import a100, machine

ARCHIVE = "/srv/stand-ins"
MAKER = "Debian NVIDIA Maintainers <pkg-nvidia-devel@lists.alioth.debian.org>"


class StandIn(NamedTuple):
    """What goes into one package. `files`: text by absolute path, those of programs begin with "#!"."""

    name: str
    version: str
    fields: Mapping[str, str] = {}
    files: Mapping[str, str | bytes] = {}
    scripts: Mapping[str, str] = {}  # "postinst" and the like


def publish(root: Root, packages: Sequence[StandIn]) -> None:
    """Put the packages into the local archive of the root, beside what is there, and let its apt know."""
    archive = root.inside(ARCHIVE)
    archive.mkdir(parents=True, exist_ok=True)
    for package in packages:
        _build(package, archive)
    _announce(root)


def _announce(root: Root) -> None:
    """Let the root's apt know of all that lies in the local archive."""
    archive = root.inside(ARCHIVE)
    (archive / "Packages").write_text("".join(_entry(path) for path in sorted(archive.glob("*.deb"))), encoding="utf-8")
    root.write("/etc/apt/sources.list.d/stand-ins.list", f"deb [trusted=yes] file:{ARCHIVE} ./\n")
    only = "Dir::Etc::SourceList=/etc/apt/sources.list.d/stand-ins.list"
    root.do(
        "apt-get", "-q", "update", "-o", only, "-o", "Dir::Etc::SourceParts=-", "-o", "APT::Get::List-Cleanup=false"
    )


def dkms_source(upstream: str, revision: str, depends: str, code: str = "") -> StandIn:
    """nvidia-kernel-dkms with a module of a few lines, which DKMS really compiles, names and places as Debian's.

    Its version must be one that the archive has not, or apt takes the real one, which compiles for minutes. `code`: of
    the module, beside the few lines.
    """
    source = f"/usr/src/nvidia-current-{upstream}"
    answers = machine([a100(0)], driver_version=upstream)
    return StandIn(
        "nvidia-kernel-dkms",
        f"{upstream}-{revision}",
        {"Depends": depends},
        {
            f"{source}/dkms.conf": _DKMS_CONF.format(upstream=upstream),
            f"{source}/Makefile": _MAKEFILE,
            f"{source}/nvidia.c": _MODULE.format(upstream=upstream, answers=json.dumps(answers)) + code,
            f"{source}/nvidia-uvm.c": _UVM_MODULE.format(upstream=upstream),
        },
        {
            "postinst": '#!/bin/sh\nset -e\nif [ "$1" = configure ]; then\n'
            f"    /usr/lib/dkms/common.postinst nvidia-current {upstream}\nfi\n",
            "prerm": '#!/bin/sh\nset -e\ncase "$1" in remove|upgrade|deconfigure)\n'
            f"    dkms remove -m nvidia-current -v {upstream} --all || true ;;\nesac\n",
        },
    )


_DKMS_CONF = """PACKAGE_NAME="nvidia-current"
PACKAGE_VERSION="{upstream}"
BUILT_MODULE_NAME[0]="nvidia"
DEST_MODULE_NAME[0]="nvidia-current"
DEST_MODULE_LOCATION[0]="/updates/dkms"
BUILT_MODULE_NAME[1]="nvidia-uvm"
DEST_MODULE_NAME[1]="nvidia-current-uvm"
DEST_MODULE_LOCATION[1]="/updates/dkms"
MAKE[0]="make KVER=$kernelver"
CLEAN="make KVER=$kernelver clean"
AUTOINSTALL="yes"
"""

_MAKEFILE = """obj-m := nvidia.o nvidia-uvm.o
all:
\t$(MAKE) -C /lib/modules/$(KVER)/build M=$(CURDIR) modules
clean:
\t$(MAKE) -C /lib/modules/$(KVER)/build M=$(CURDIR) clean
"""

# What programs see of the driver, and no more: /proc/driver/nvidia/version, and the device nodes. Beside them lies what
# the stub libraries are to answer, for as long as the module is loaded.
_MODULE = """#include <linux/device.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/module.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>

static int version_show(struct seq_file *file, void *unused)
{{
	seq_puts(file, "NVRM version: NVIDIA UNIX x86_64 Kernel Module  {upstream}  Mon Jun 23 16:07:21 UTC 2025\\n");
	return 0;
}}

static int params_show(struct seq_file *file, void *unused)
{{
	seq_puts(file, "DeviceFileMode: 438\\nModifyDeviceFiles: 1\\n");
	return 0;
}}

static int answers_show(struct seq_file *file, void *unused)
{{
	seq_puts(file, {answers});
	return 0;
}}

static char *for_everybody(struct device *device, umode_t *mode)
{{
	if (mode)
		*mode = 0666;
	return NULL;
}}

static const struct file_operations nothing = {{ .owner = THIS_MODULE }};
static struct class *nodes;

static int __init stand_in_init(void)
{{
	struct proc_dir_entry *folder = proc_mkdir("driver/nvidia", NULL);

	if (!folder || register_chrdev(195, "nvidia", &nothing))
		return -EBUSY;
	proc_create_single("version", 0444, folder, version_show);
	proc_create_single("params", 0444, folder, params_show);
	proc_create_single("stand-in", 0444, folder, answers_show);
	nodes = class_create(THIS_MODULE, "nvidia");
	nodes->devnode = for_everybody;
	device_create(nodes, NULL, MKDEV(195, 0), NULL, "nvidia0");
	device_create(nodes, NULL, MKDEV(195, 255), NULL, "nvidiactl");
	return 0;
}}

static void __exit stand_in_exit(void)
{{
	device_destroy(nodes, MKDEV(195, 255));
	device_destroy(nodes, MKDEV(195, 0));
	class_destroy(nodes);
	unregister_chrdev(195, "nvidia");
	remove_proc_subtree("driver/nvidia", NULL);
}}

module_init(stand_in_init);
module_exit(stand_in_exit);
MODULE_LICENSE("GPL");
MODULE_VERSION("{upstream}");
"""

_UVM_MODULE = """#include <linux/device.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/module.h>

static char *for_everybody(struct device *device, umode_t *mode)
{{
	if (mode)
		*mode = 0666;
	return NULL;
}}

static const struct file_operations nothing = {{ .owner = THIS_MODULE }};
static struct class *nodes;
static int major;

static int __init stand_in_init(void)
{{
	major = register_chrdev(0, "nvidia-uvm", &nothing);
	if (major < 0)
		return major;
	nodes = class_create(THIS_MODULE, "nvidia-uvm");
	nodes->devnode = for_everybody;
	device_create(nodes, NULL, MKDEV(major, 0), NULL, "nvidia-uvm");
	return 0;
}}

static void __exit stand_in_exit(void)
{{
	device_destroy(nodes, MKDEV(major, 0));
	class_destroy(nodes);
	unregister_chrdev(major, "nvidia-uvm");
}}

module_init(stand_in_init);
module_exit(stand_in_exit);
MODULE_LICENSE("GPL");
MODULE_VERSION("{upstream}");
"""


def _build(package: StandIn, archive: Path) -> None:
    fields = {
        "Package": package.name,
        "Version": package.version,
        "Architecture": "amd64",
        "Maintainer": MAKER,
        **package.fields,
        "Description": "stand-in for tests",
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        control = folder / "DEBIAN"
        control.mkdir(mode=0o755)
        (control / "control").write_text(
            "".join(f"{key}: {value}\n" for key, value in fields.items()), encoding="utf-8"
        )
        for script, text in package.scripts.items():
            (control / script).write_text(text, encoding="utf-8")
            (control / script).chmod(0o755)
        for path, content in package.files.items():
            target = folder / path.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            data = content.encode() if isinstance(content, str) else content
            target.write_bytes(data)
            target.chmod(0o755 if data.startswith(b"#!") else 0o644)
        folder.chmod(0o755)
        _pack(folder, archive / f"{package.name}_{package.version}_amd64.deb")


def _pack(folder: Path, target: Path) -> None:
    words = ("dpkg-deb", "--root-owner-group", "-Znone", "--build", str(folder), str(target))
    subprocess.run(words, check=True, capture_output=True)


def _entry(path: Path) -> str:
    """What an archive's index says of one package."""
    told = subprocess.run(("dpkg-deb", "--field", str(path)), check=True, capture_output=True, text=True)
    data = path.read_bytes()
    lines = (f"Filename: ./{path.name}", f"Size: {len(data)}", f"SHA256: {hashlib.sha256(data).hexdigest()}")
    return told.stdout + "".join(f"{line}\n" for line in lines) + "\n"


def renumber(
    root: Root, names: Sequence[str], old: str, new: str, revision: str, libraries: Mapping[str, Path]
) -> None:
    """Publish these packages of the root's cache once more, as if they were the driver's next release.

    What they say and run stays real; `libraries`: what is to lie in them in place of libraries of these names.
    """
    archive = root.inside(ARCHIVE)
    missing = [name for name in names if not any(root.archives.glob(f"{name}_{old}-*_*.deb"))]
    if missing:
        root.do("apt-get", "-y", "-q", "--download-only", "--reinstall", "install", *missing)
    for name in names:
        (real,) = root.archives.glob(f"{name}_{old}-*_*.deb")
        release = real.name.split("_")[1]
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) / "package"
            subprocess.run(("dpkg-deb", "--raw-extract", str(real), str(folder)), check=True)
            (folder / "DEBIAN" / "md5sums").unlink()
            for path in (folder / "DEBIAN").iterdir():
                text = path.read_text(encoding="utf-8")
                path.write_text(text.replace(release, f"{new}-{revision}").replace(old, new), encoding="utf-8")
            for path in sorted(folder.rglob(f"*{old}*"), reverse=True):
                path.rename(path.with_name(path.name.replace(old, new)))
            for library, stub in libraries.items():
                for path in folder.rglob(f"{library}.{new}"):
                    shutil.copyfile(stub, path)
            for path in folder.rglob("*"):
                if path.is_symlink() and old in os.readlink(path):
                    target = os.readlink(path).replace(old, new)
                    path.unlink()
                    path.symlink_to(target)
            _pack(folder, archive / f"{name}_{new}-{revision}_amd64.deb")
    _announce(root)
