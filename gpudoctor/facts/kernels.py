"""Installed kernels, which one boots next, and the NVIDIA module on disk for each of them."""

from gpudoctor.facts.installed_kernels import InstalledKernel, InstalledKernels
from gpudoctor.facts.module_files import ModuleFile, ModuleFiles

__all__ = ["InstalledKernel", "InstalledKernels", "ModuleFile", "ModuleFiles"]
