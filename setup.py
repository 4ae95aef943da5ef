"""Builds hyperconv and, with ninja, its native libraries; without a compiler the installation still succeeds.

    hyperconv/_native/hyperconv_cpu.so    csrc/cpu, its kernels once per instruction set of the processor
    hyperconv/_native/hyperconv_cuda.so   csrc/cuda, where nvcc is found
    hyperconv/_native/build_info.*.so     csrc/bindings.cpp: what was built, and how (pybind11)
    hyperconv/_native/build.json          what the loader checks, and why a library was not built

CXX                    the C++ compiler (g++, else c++)
HYPERCONV_CUDA         1: a CUDA library that cannot be built is an error; 0: none is built; unset: built if nvcc is found
CUDA_HOME              where nvcc is, when it is not on PATH
TORCH_CUDA_ARCH_LIST   GPU architectures, as torch reads them ("8.0;9.0+PTX", "Hopper"); 8.0, 9.0, 10.0 and PTX otherwise
MAX_JOBS               compilers run at a time
"""

import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext

WORK = Path("build/native")
TORCH_TARGET = "2.10"
CPU_FLAGS = shlex.split("-O3 -std=c++17 -fPIC -fvisibility=hidden -fno-math-errno -fno-trapping-math -Wall -Wextra")
CUDA_FLAGS = shlex.split("-O3 -std=c++17 -Xcompiler -fPIC,-fvisibility=hidden,-Wall,-Wextra")
INSTRUCTION_SETS = {
    "baseline": ["-msse4.2"],
    "avx2": shlex.split("-mavx2 -mfma -mf16c"),
    "avx512": shlex.split("-mavx512f -mavx512dq -mavx512bw -mavx512vl -mfma -mf16c -mprefer-vector-width=512"),
}
CUDA_ARCHITECTURES = ("8.0", "9.0", "10.0")
NAMED_ARCHITECTURES = {  # the names torch takes
    "Volta": "7.0", "Turing": "7.5", "Ampere": "8.0 8.6", "Ada": "8.9", "Hopper": "9.0", "Blackwell": "10.0 12.0",
}


class NotBuilt(Exception):
    """Why one of the libraries cannot be built here, in one line."""


def instruction_sets():
    """Name and compiler flags of every build of the CPU kernels; other processors than x86-64 have one."""
    if platform.machine().lower() in ("x86_64", "amd64"):
        return INSTRUCTION_SETS
    return {"baseline": []}


def cuda_architectures(requested, supported):
    """GPU architectures to compile for, as ['8.0', '9.0+PTX'].

    `requested` is the value of TORCH_CUDA_ARCH_LIST, empty for the default; `supported` the ones this nvcc knows.
    """
    if not requested:
        known = [arch for arch in CUDA_ARCHITECTURES if arch in supported]
        if not known:
            raise NotBuilt(f"this nvcc compiles for none of {', '.join(CUDA_ARCHITECTURES)}: set TORCH_CUDA_ARCH_LIST")
        return known[:-1] + [known[-1] + "+PTX"]
    chosen = []
    for word in re.split(r"[;,\s]+", requested.strip()):
        name, ptx, _ = word.partition("+PTX")
        expanded = NAMED_ARCHITECTURES.get(name, name).split()
        if any(not re.fullmatch(r"\d+\.\d[af]?", arch) for arch in expanded):
            raise NotBuilt(f"TORCH_CUDA_ARCH_LIST names {word!r}: write numbers such as '8.0;9.0+PTX'")
        chosen += expanded[:-1] + [expanded[-1] + ptx]
    return chosen


def gencode_flags(architectures):
    """nvcc's -gencode arguments for ['8.0', '9.0+PTX']."""
    flags = []
    for word in architectures:
        arch, ptx, _ = word.partition("+PTX")
        number = arch.replace(".", "")
        flags.append(f"-gencode=arch=compute_{number},code=sm_{number}")
        if ptx:
            flags.append(f"-gencode=arch=compute_{number},code=compute_{number}")
    return flags


def find_torch():
    """Folder of the torch that is installed here, without importing it."""
    spec = importlib.util.find_spec("torch")
    if spec is None:
        raise NotBuilt("torch is not installed in the build environment")
    version = importlib.metadata.version("torch")
    if tuple(map(int, version.split(".")[:2])) < tuple(map(int, TORCH_TARGET.split("."))):
        raise NotBuilt(f"torch {version} is installed and {TORCH_TARGET} or later is needed")
    return Path(spec.submodule_search_locations[0])


def find_compiler():
    """The C++ compiler as a list of words: CXX, else g++, else c++."""
    words = shlex.split(os.environ.get("CXX", "")) or [shutil.which("g++") and "g++" or "c++"]
    if shutil.which(words[0]) is None:
        raise NotBuilt(f"C++ compiler {words[0]} not found")
    return words


def find_nvcc():
    """Path of nvcc: on PATH, in CUDA_HOME, in /usr/local/cuda."""
    homes = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda"]
    for candidate in ["nvcc", *(os.path.join(home, "bin", "nvcc") for home in homes if home)]:
        if shutil.which(candidate):
            return shutil.which(candidate)
    raise NotBuilt("nvcc not found on PATH, in CUDA_HOME or in /usr/local/cuda")


def output_of(*command):
    """What a program prints."""
    return subprocess.run(command, check=False, capture_output=True, text=True).stdout.strip()


def run_ninja(name, objects, target, link):
    """Compile `objects` {object: (source, command)} and link them into `target`, redoing only what changed.

    Everything the compilers print goes to build/native/<name>.log; raises NotBuilt when one of them fails.
    """
    if importlib.util.find_spec("ninja") is None:
        raise NotBuilt("ninja is not installed in the build environment")
    import ninja

    def edge(rule, output, inputs, command):
        text = shlex.join(command).replace("$", "$$")
        return f"build {output}: {rule} {' '.join(map(str, inputs))}\n  command_line = {text}\n"

    WORK.mkdir(parents=True, exist_ok=True)
    lines = [f"builddir = {WORK / name}\n"]
    lines += ["rule compile\n  command = $command_line -MD -MF $out.d\n  depfile = $out.d\n  deps = gcc\n"]
    lines += ["rule link\n  command = $command_line\n"]
    for output, (source, command) in objects.items():
        lines.append(edge("compile", output, [source], [*command, "-c", str(source), "-o", str(output)]))
    lines.append(edge("link", target, objects, [*link, *map(str, objects), "-o", str(target)]))
    recipe = WORK / f"{name}.ninja"
    recipe.write_text("\n".join(lines))
    command = [os.path.join(ninja.BIN_DIR, "ninja"), "-f", str(recipe)]
    if os.environ.get("MAX_JOBS"):
        command += ["-j", os.environ["MAX_JOBS"]]
    log = WORK / f"{name}.log"
    with open(log, "w") as stream:
        finished = subprocess.run(command, check=False, stdout=stream, stderr=subprocess.STDOUT)
    if finished.returncode:
        raise NotBuilt(f"its compilation failed (compiler log: {log.resolve()})")


def torch_target_flags(torch):
    """Compiler arguments that restrict the code to torch's stable interface, headers as system headers."""
    return ["-DTORCH_TARGET_VERSION=0x020a000000000000", "-isystem", str(torch / "include")]


def torch_link_flags(torch):
    """Linker arguments: libraries by soname only, since torch is always imported first; libtorch brings
    libtorch_cuda where it exists."""
    return [f"-L{torch / 'lib'}", "-Xlinker", "--no-as-needed", "-ltorch", "-ltorch_cpu", "-lc10"]


def build_cpu(record):
    """Build the CPU library, its kernels.cpp once per instruction set; returns its path."""
    torch, compiler = find_torch(), find_compiler()
    command = [*compiler, *CPU_FLAGS, *torch_target_flags(torch)]
    objects = {}
    for source in sorted(Path("csrc/cpu").glob("*.cpp")):
        if source.name != "kernels.cpp":
            objects[WORK / "cpu" / f"{source.stem}.o"] = (source, command)
            continue
        for isa, flags in instruction_sets().items():
            objects[WORK / "cpu" / f"kernels_{isa}.o"] = (source, [*command, f"-DHYPERCONV_ISA={isa}", *flags])
    target = WORK / "hyperconv_cpu.so"
    run_ninja("cpu", objects, target, [*compiler, "-shared", *torch_link_flags(torch)])
    return target


def nvcc_command(torch, architectures):
    """nvcc with the flags of one translation unit."""
    host_compiler = ["-ccbin", find_compiler()[0]]
    return [find_nvcc(), *host_compiler, *CUDA_FLAGS, "-DUSE_CUDA", *torch_target_flags(torch),
            *gencode_flags(architectures)]


def build_cuda(record):
    """Build the CUDA library and record its architectures; returns its path.

    Symbols of libtorch_cuda stay undefined: beside a CPU torch there is none, and the loader then leaves it alone.
    """
    if os.environ.get("HYPERCONV_CUDA") == "0":
        raise NotBuilt("HYPERCONV_CUDA=0 was set at installation")
    torch, nvcc = find_torch(), find_nvcc()
    supported = {".".join(arch) for arch in re.findall(r"compute_(\d+)(\d)\b", output_of(nvcc, "--list-gpu-arch"))}
    architectures = cuda_architectures(os.environ.get("TORCH_CUDA_ARCH_LIST"), supported)
    command = nvcc_command(torch, architectures)
    objects = {WORK / "cuda" / f"{source.stem}.o": (source, command) for source in sorted(Path("csrc/cuda").glob("*.cu"))}
    target = WORK / "hyperconv_cuda.so"
    link = [nvcc, "-ccbin", find_compiler()[0], "-shared", "-cudart", "static", "-Xlinker", "--exclude-libs=ALL"]
    run_ninja("cuda", objects, target, [*link, *torch_link_flags(torch)])
    record["cuda_architectures"] = architectures
    return target


def build_information(record):
    """Build the pybind11 module that tells how the others were built; returns its path."""
    if importlib.util.find_spec("pybind11") is None:
        raise NotBuilt("pybind11 is not installed in the build environment")
    import pybind11

    headers = sysconfig.get_path("include")
    if not Path(headers, "Python.h").exists():
        raise NotBuilt(f"Python.h not found in {headers}: the headers of this Python are not installed")
    compiler, architectures = find_compiler(), record["cuda_architectures"]
    facts = {
        "VERSION": record["version"],
        "COMPILER": output_of(*compiler, "--version").partition("\n")[0],
        "FLAGS": " ".join(CPU_FLAGS),
        "INSTRUCTION_SETS": " ".join(instruction_sets()),
        "CUDA_ARCHITECTURES": " ".join(architectures),
        "NVCC": re.search(r"release.*|$", output_of(find_nvcc(), "--version")).group() if architectures else "",
        "TORCH_TARGET": TORCH_TARGET,
        "TORCH_BUILD": importlib.metadata.version("torch"),
    }
    command = [*compiler, "-O2", "-std=c++17", "-fPIC", "-fvisibility=hidden", "-isystem", headers,
               "-isystem", pybind11.get_include(), *(f'-DHYPERCONV_{name}="{fact}"' for name, fact in facts.items())]
    target = WORK / ("build_info" + sysconfig.get_config_var("EXT_SUFFIX"))
    objects = {WORK / "build_info" / "bindings.o": (Path("csrc/bindings.cpp"), command)}
    run_ninja("build_info", objects, target, [*compiler, "-shared"])
    return target


class BuildNative(build_ext):
    """Builds each library that can be built here, and records why not for each that cannot."""

    def run(self):
        record = {"version": self.distribution.get_version(), "torch_target": TORCH_TARGET,
                  "cuda_architectures": [], "failures": {}}
        built = []
        for name, build in (("cpu", build_cpu), ("cuda", build_cuda), ("build_info", build_information)):
            try:
                built.append(build(record))
            except NotBuilt as reason:
                if name == "cuda" and os.environ.get("HYPERCONV_CUDA") == "1":
                    raise SystemExit(f"hyperconv: HYPERCONV_CUDA=1, but the CUDA library is not built: {reason}") from None
                record["failures"][name] = str(reason)
                print(f"hyperconv: {name} not built: {reason}", file=sys.stderr)
        self.deliver(built, record)

    def deliver(self, built, record):
        """Put what was built, and only that, into hyperconv/_native; a library in use is replaced, not overwritten."""
        root = Path() if self.inplace or self.editable_mode else Path(self.build_lib)
        folder = root / "hyperconv" / "_native"
        folder.mkdir(parents=True, exist_ok=True)
        for stale in folder.glob("*.so"):
            if stale.name not in {path.name for path in built}:
                stale.unlink()
        for path in built:
            shutil.copy2(path, folder / (path.name + ".new"))
            os.replace(folder / (path.name + ".new"), folder / path.name)
        (folder / "build.json").write_text(json.dumps(record, indent=2) + "\n")
        self.delivered = [str(folder / name) for name in [*(path.name for path in built), "build.json"]]

    def get_outputs(self):
        return getattr(self, "delivered", [])

    def get_output_mapping(self):
        return {}


if __name__ == "__main__":
    setup(
        packages=[*find_packages(include=["hyperconv", "hyperconv.*"]), "hyperconv.kernels"],
        package_dir={"hyperconv.kernels": "kernels"},
        ext_modules=[Extension("hyperconv._native.build_info", ["csrc/bindings.cpp"],
                               depends=sorted(map(str, Path("csrc").glob("*/*"))))],
        cmdclass={"build_ext": BuildNative},
    )
