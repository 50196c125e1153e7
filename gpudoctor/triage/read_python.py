"""The Python environment of a text: lists of packages, collect_env, tracebacks, and people's own words."""

import re
from collections.abc import Iterator

from gpudoctor.facts.conda import CondaPackage
from gpudoctor.facts.distributions import concerns_gpu
from gpudoctor.python.pep508 import normalised
from gpudoctor.triage.paste import Line, Paste
from gpudoctor.triage.shown import ShownPython, Stated

_NUMBER = r"\d+(?:\.\d+)*[a-z0-9]*(?:\.(?:dev|post|rc)\d+)*(?:\+[\w.]+)?"
_NAME = r"[A-Za-z][A-Za-z0-9._-]{1,60}"
# Lists, by how they look: "[pip3] torch==2.1", "torch==2.1", "[conda] pytorch 1.3 py3.7_cuda10.1 pytorch".
_PINNED = re.compile(rf"(?<![\w.-])({_NAME})(?:\[[\w,-]+\])?\s?={{2,3}}\s?({_NUMBER})(?![\d*])")
_CONDA_ROW = re.compile(rf"^(?:\[conda\] )?({_NAME}) ({_NUMBER}) ([\w.]*\d[\w.]*|cuda|cpu)(?: (?!=)[\w./:-]+)?$")
_CONDA_SPEC = re.compile(rf"(?<![\w.-])({_NAME})={{1}}({_NUMBER})=([\w.]+)")
_PIP_ROW = re.compile(rf"^({_NAME}) {{1,}}({_NUMBER})(?: \S*)?$")
_FOUND = re.compile(rf"(?:Found existing installation|Requirement already satisfied): ({_NAME})[ -=]{{1,2}}({_NUMBER})")
_INSTALLED = re.compile(rf"({_NAME})-({_NUMBER})(?= |$)")
_WHEEL = re.compile(rf"\b({_NAME}?)-({_NUMBER})-(?:cp|py)\d\S*\.whl")
# Words of people: "torch 2.3.0", "PyTorch version: 2.1", "onnxruntime-gpu 1.16", "jaxlib: 0.3.15".
_LOOSE = re.compile(
    r"(?<![\w/.-])(torch|pytorch|torchvision|torchaudio|tensorflow(?:-gpu)?|jax|jaxlib|jax-cuda\d+-(?:plugin|pjrt)"
    r"|onnxruntime(?:-gpu)?|onnx runtime|cupy(?:-cuda\d+x?)?|numpy|numba|ctranslate2|faster-whisper|flash[-_]attn"
    r"|vllm|xformers|bitsandbytes|(?:pytorch-)?triton|transformers|nvidia-\w+(?:-\w+)?-cu\d+)"
    rf"(?: version| ver\.?| v)?\s?[:= ]\s?v?({_NUMBER})(?![\w/]*\.(?:py|so))",
    re.IGNORECASE,
)
_TORCH = re.compile(rf"^PyTorch version ?: ({_NUMBER}(?:[+.][\w.]+)?|N/A)", re.IGNORECASE)
_TORCH_PRINTED = re.compile(r"torch\.__version__|torch version", re.IGNORECASE)
_BARE = re.compile(
    r"^'?(\d+\.\d+\.\d+(?:[a-z]+\d*)?(?:\.dev\d+)?\+(?:cpu|cu\d+))'?(?: (?:None|[\d.]+))?(?: (?:True|False))?$"
)
_TORCH_CUDA = re.compile(r"^CUDA used to build PyTorch ?: (\S.*)$", re.IGNORECASE)
_TORCH_CUDA_LOOSE = re.compile(
    r"PyTorch[^()]{0,20}\(CUDA used to build PyTorch: ([\d.]+)|torch\.version\.cuda\W{1,8}([\d.]+|None)", re.IGNORECASE
)
_AVAILABLE = re.compile(r"(?:Is CUDA available|cuda\.is_available\(\)\)?)\W{0,6}(True|False|Yes|No)\b", re.IGNORECASE)
_YOU_HAVE = re.compile(rf"PyTorch {_NUMBER}[^()]{{0,40}}\(you have ({_NUMBER})", re.IGNORECASE)
_ASKED = re.compile(r"cuda\.is_available\(\)\)?\s*$")
_FEW_WORDS = 300  # characters
_SOME_TORCH = re.compile(r"\b(?:py)?torch\b", re.IGNORECASE)
_SOME_CUDA = re.compile(r"\bcuda[ :=]?v?(\d{1,2}\.\d)\b", re.IGNORECASE)
_OTHER_CUDA = re.compile(r"nvidia-smi|nvcc|toolkit|cuda version|compile|requires?\b|found version", re.IGNORECASE)
_JAX_GPU = re.compile(r"\b(?:Gpu|Cuda)Device\(id=\d")
_PYTHON = re.compile(r"\bPython(?: version)?\s?[:=]?\s?(3\.\d{1,2}|2\.7)\b", re.IGNORECASE)
_IN_PATH = re.compile(r"/python(3\.\d{1,2})/(?:site|dist)-packages/")
_WHOLE_LIST = 6  # packages that concern GPUs: nobody types so many
_PRINTED = re.compile(r"'(\d+\.\d+\.\d+\+(?:cpu|cu\d+))'")
_TAGGED = re.compile(r"\b(?:py)?torch(?: version)?[ :=]+v?(\d+\.\d+(?:\.\d+)?)[ (+-]+(cpu|cu\d{2,3})\b", re.IGNORECASE)
_ALIASES = {"pytorch": "torch", "onnx-runtime": "onnxruntime", "pytorch-triton": "triton"}
# What tells of other environments than the one in question.
_NOT_THERE = re.compile(
    r"requires|requirement|compiled (?:with|against|for)|built (?:with|for)|was built|no longer|not compatible"
    r"|incompatible|>=|<=|!=|expected|supports? |\(you have ",
    re.IGNORECASE,
)


def read_python(paste: Paste) -> ShownPython:
    """Lists outrank people's own words, and what torch says of itself outranks lists."""
    listed: dict[str, Stated] = {}
    loose: dict[str, Stated] = {}
    conda: dict[str, CondaPackage] = {}
    for line in paste.lines:
        if len(line.text) > 2000:
            continue
        for package in _conda(line):
            conda.setdefault(package.name, package)
        for name, version in _listed(line):
            _file(listed, name, version, line)
        if not _NOT_THERE.search(line.text):
            for match in _LOOSE.finditer(line.text):
                _file(loose, match[1].replace(" ", "-"), match[2], line)
    packages = {**loose, **listed}
    torch, cuda = _of_torch(paste)
    if torch is None and cuda is None and "torch" not in packages:
        torch, cuda = _in_few_words(paste)
    python = next((m[1] for line in paste.lines if (m := _PYTHON.search(line.text) or _IN_PATH.search(line.text))), "")
    return ShownPython(
        python,
        packages,
        tuple(conda.values()),
        len(listed) >= _WHOLE_LIST,
        torch,
        cuda,
        _sees_gpu(paste),
        bool(_JAX_GPU.search(paste.flow.text)),
    )


def _file(into: dict[str, Stated], name: str, version: str, line: Line) -> None:
    name = normalised(name)
    name = _ALIASES.get(name, name)
    if concerns_gpu(name):
        into[name] = Stated(version, line.number, line.text[:200])


def _conda(line: Line) -> Iterator[CondaPackage]:
    row = _CONDA_ROW.match(line.text)
    if row and not line.text.startswith("[pip"):
        yield CondaPackage(row[1].lower(), row[2], row[3])
    for spec in _CONDA_SPEC.finditer(line.text):
        yield CondaPackage(spec[1].lower(), spec[2], spec[3])


def _listed(line: Line) -> Iterator[tuple[str, str]]:
    text = line.text
    for match in (*_PINNED.finditer(text), *_FOUND.finditer(text), *_WHEEL.finditer(text)):
        yield match[1], match[2]
    if text.startswith("Successfully installed"):
        for match in _INSTALLED.finditer(text):
            yield match[1], match[2]
    row = _PIP_ROW.match(text)
    if (
        row
        and line.raw.strip() != ""
        and not text.startswith(("Python ", "CUDA ", "gcc ", "GPU ", "Ubuntu ", "Driver "))
    ):
        yield row[1], row[2]


def _of_torch(paste: Paste) -> tuple[Stated | None, Stated | None]:
    version = cuda = None
    asked = 0
    for index, line in enumerate(paste.lines):
        if _TORCH_PRINTED.search(line.text):
            asked = index + 2
        if version is None and (found := _TORCH.match(line.text)):
            version = None if found[1] == "N/A" else Stated(found[1], line.number, line.text[:200])
        if version is None and index <= asked and (found := _BARE.match(line.text)):
            version = Stated(found[1], line.number, line.text[:200])
        if version is None and (found := _YOU_HAVE.search(line.text)):
            version = Stated(found[1], line.number, line.text[:200])
        if version is None and (found := _PRINTED.search(line.text)):
            version = Stated(found[1], line.number, line.text[:200])
        if version is None and (found := _TAGGED.search(line.text)):
            version = Stated(f"{found[1]}+{found[2].lower()}", line.number, line.text[:200])
        if cuda is None and (found := _TORCH_CUDA.match(line.text) or _TORCH_CUDA_LOOSE.search(line.text)):
            cuda = Stated(next(group for group in found.groups() if group), line.number, line.text[:200])
    return version, cuda


def _in_few_words(paste: Paste) -> tuple[Stated | None, Stated | None]:
    """Of "driver 470, cuda 12.1, torch sees no gpu": a torch of which only the CUDA is told."""
    text = paste.flow.text
    if len(text) > _FEW_WORDS or not _SOME_TORCH.search(text) or _OTHER_CUDA.search(text):
        return None, None
    found = {match[1]: match for match in _SOME_CUDA.finditer(text)}
    if len(found) != 1:
        return None, None
    line = paste.lines[paste.flow.line_at(next(iter(found.values())).start())]
    words = line.text[:200]
    return Stated("", line.number, words), Stated(next(iter(found)), line.number, words)


def _sees_gpu(paste: Paste) -> bool | None:
    """The last answer: whoever shows two shows the bad one last."""
    answer = None
    for index, line in enumerate(paste.lines):
        if found := _AVAILABLE.search(line.text):
            answer = found[1].lower() in ("true", "yes")
        elif (found := _BARE.match(line.text)) and line.text.endswith(("True", "False")):
            answer = line.text.endswith("True")
        elif _ASKED.search(line.text) and index + 1 < len(paste.lines):
            said = paste.lines[index + 1].text
            answer = said == "True" if said in ("True", "False") else answer
    return answer
