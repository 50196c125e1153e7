"""What the frameworks really did when `check --deep` let them compute."""

from collections.abc import Iterator

from gpudoctor import Evidence, Finding, NotApplicable, Undecided, check
from gpudoctor.facts.cuda_level import ComputeGpus
from gpudoctor.facts.deep import DeepTrials

from ._causes import WHY_NVML_FAILS

# What is known to keep a framework from computing; where one of these is found, the trial only confirms it.
_CAUSES = (
    *("cuda.driver-too-old", "cuda.ptx-newer-than-driver", "cuda.call-needs-newer-driver", "cuda.stub-library"),
    *("cuda.forward-compat-mismatch", "cuda.forward-compat-unsupported", "cuda.library-missing"),
    *("cuda.conda-toolkit-too-new", "python.cuda-major-mismatch", "env.library-path-shadows"),
    *("env.cuda-visible-devices", "env.framework-switches", "cudnn.version-mismatch", "cudnn.sublibrary-mix"),
    *("cudnn.library-missing", "cudnn.gpu-unsupported", "python.nvidia-wheels-collide", "nccl.shadowed"),
    *("torch.cpu-only", "torch.no-kernels-for-gpu", "python.numpy-abi", "python.pin-broken"),
    *("python.interpreter-missing", "tensorflow.cuda-libraries-missing", "tensorflow.no-kernels-for-gpu"),
    *("tensorflow.both-packages", "jax.cpu-only", "jax.plugin-mismatch", "jax.outdated-library", "jax.both-plugins"),
    *("onnxruntime.both-packages", "onnxruntime.cpu-only", "onnxruntime.cuda-major-mismatch"),
    *("onnxruntime.cudnn-mismatch", "cupy.multiple-packages", "cupy.headers-missing", "numba.nvvm-missing"),
)


@check(
    "python.framework-trial",
    after=[*WHY_NVML_FAILS, *_CAUSES],
    no_symptom="the message is the framework's own, and belongs to its cause",
)
def framework_trial(gpus: ComputeGpus, trials: DeepTrials) -> Iterator[Finding | Undecided]:
    """A framework was tried, and did not compute on the GPU.

    What: `check --deep` starts each framework of the environments in use in its own interpreter, as the owner of the
    environment, and lets it multiply two matrices and convolve an image with numbers whose result is known. Here it
    saw no GPU, stopped with an error, or computed something else.

    Proof: The framework's own message, and how far it came: import, devices, matmul or convolution.

    Repair: If another finding names the cause, that one's. Else the message itself says most: `gpudoctor explain`
    finds what is known about it.

    Reference: https://pytorch.org/docs/stable/notes/cuda.html; https://docs.nvidia.com/cuda/cuda-runtime-api/ (errors)
    """
    if not gpus.gpus:
        raise NotApplicable("no NVIDIA GPU here")
    for trial in trials.trials:
        if trial.unavailable:
            yield Undecided(f"{trial.framework} in {trial.prefix}: {trial.unavailable}", environment=trial.prefix)
        elif trial.failure:
            came = {"import": "could not be imported", "devices": "found no usable GPU"}.get(
                trial.failed_at, f"failed at the {trial.failed_at} on the GPU"
            )
            yield Finding(
                f"{trial.framework} {trial.version} in {trial.prefix} was tried, and {came}.",
                f"{trial.framework} {trial.version}".strip(),
                (Evidence(f"{trial.framework}, run as user {trial.user}", trial.failure),),
                f'See what is known of this message: `gpudoctor explain "{trial.failure.partition(": ")[2][:60]}"`.',
                environment=trial.prefix,
            )
