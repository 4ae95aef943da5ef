"""Builds hyperconv and, with ninja, its native libraries; without a compiler the installation still succeeds.

    hyperconv/_native/hyperconv_cpu.so    csrc/cpu, its kernels once per instruction set of the processor (AMX and AVX512-BF16
                                       where the compiler knows them)
    hyperconv/_native/hyperconv_cuda.so   csrc/cuda, where nvcc is found
    hyperconv/_native/build_info.*.so     csrc/bindings.cpp: what was built, and how (pybind11)
    hyperconv/_native/build.json          what the loader checks, and why a library was not built

CXX, CXXFLAGS          the C++ compiler, unset: g++, else c++; and arguments for the CPU library after the usual ones
HYPERCONV_CUDA         1: a CUDA library that cannot be built is an error; 0: none; unset: where nvcc is found
CUDA_HOME              where nvcc is, when it is not on PATH
TORCH_CUDA_ARCH_LIST   GPU architectures as torch takes them ("8.0;9.0+PTX"); unset: 8.0;9.0;10.0+PTX
HYPERCONV_BUILD_FOLDER where objects, libraries and logs of the build go; unset: build/native
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

WORK = Path(os.environ.get("HYPERCONV_BUILD_FOLDER", "build/native"))
TORCH_TARGET = "2.10"
CODE_FLAGS = ["-O3", "-std=c++17", "-DTORCH_TARGET_VERSION=0x020a000000000000"]
CPU_FLAGS = ["-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra", "-fno-math-errno", "-fno-trapping-math"]
CUDA_FLAGS = ["-Xcompiler", "-fPIC,-fvisibility=hidden,-Wall,-Wextra", "-Xptxas", "-v", "-DUSE_CUDA"]
AVX512_FLAGS = ["-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mprefer-vector-width=512"]
INSTRUCTION_SETS = {
    "baseline": ["-msse4.2"],
    "avx2": ["-mavx2", "-mfma", "-mf16c"],
    "avx512": ["-mfma", "-mf16c", *AVX512_FLAGS],
}
# Kinds of matrix tiles: one instruction, for the question whether the compiler knows them, and flags.
TILE_SETS = {
    "amx": ("tdpbf16ps %tmm2, %tmm1, %tmm0", [*INSTRUCTION_SETS["avx512"], "-mamx-tile", "-mamx-bf16"]),
    "avx512bf16": ("vdpbf16ps %zmm2, %zmm1, %zmm0", [*INSTRUCTION_SETS["avx512"], "-DHYPERCONV_VDPBF16PS"]),
}
CUDA_ARCHITECTURES = ("8.0", "9.0", "10.0")
NAMED_ARCHITECTURES = {
    "Volta": ["7.0"],
    "Turing": ["7.5"],
    "Ampere": ["8.0", "8.6"],
    "Ada": ["8.9"],
    "Hopper": ["9.0"],
    "Blackwell": ["10.0", "12.0"],
}


class NotBuilt(Exception):
    """Why one of the libraries cannot be built here, in one line."""


def instruction_sets():
    """Name and compiler flags of every build of the CPU kernels; processors other than x86-64 have one."""
    if platform.machine().lower() in ("x86_64", "amd64"):
        return INSTRUCTION_SETS
    return {"baseline": []}


def tile_sets(command):
    """Name and compiler flags of every build of the kernels over matrix tiles: emulations, and what `command` knows."""
    plain = instruction_sets()["baseline"]
    sets = {"amx_emulated": plain, "avx512bf16_emulated": [*plain, "-DHYPERCONV_EMULATE_VDPBF16PS"]}
    WORK.mkdir(parents=True, exist_ok=True)
    for name, (instruction, flags) in TILE_SETS.items() if "avx512" in instruction_sets() else ():
        code = f'void f() {{ __asm__("{instruction}"); }}'
        probe = [*command, *flags, "-x", "c++", "-", "-c", "-o", WORK / f"{name}_probe.o"]
        if subprocess.run(probe, input=code, check=False, capture_output=True, text=True).returncode == 0:
            sets[name] = flags
    return sets


def cuda_architectures(requested, supported):
    """GPU architectures to compile for, as ['8.0', '9.0+PTX'].

    `requested` is the value of TORCH_CUDA_ARCH_LIST, empty for the default; `supported` what this nvcc knows.
    """
    if not requested:
        known = [arch for arch in CUDA_ARCHITECTURES if arch in supported]
        if not known:
            raise NotBuilt(f"nvcc knows none of {', '.join(CUDA_ARCHITECTURES)}: set TORCH_CUDA_ARCH_LIST")
        return [*known[:-1], known[-1] + "+PTX"]
    chosen = []
    for word in re.split(r"[;,\s]+", requested.strip("; ,\t")):
        name, ptx, _ = word.partition("+PTX")
        numbers = NAMED_ARCHITECTURES.get(name, [name])
        if not re.fullmatch(r"\d+\.\d[af]?", numbers[0]):
            raise NotBuilt(f"TORCH_CUDA_ARCH_LIST names {word!r}: write numbers such as '8.0;9.0+PTX'")
        chosen += [*numbers[:-1], numbers[-1] + ptx]
    return chosen


def gencode_flags(architectures):
    """nvcc's arguments for ['8.0', '9.0+PTX']."""
    flags = []
    for word in architectures:
        number, ptx, _ = word.replace(".", "").partition("+PTX")
        flags.append(f"-gencode=arch=compute_{number},code=sm_{number}")
        if ptx:
            flags.append(f"-gencode=arch=compute_{number},code=compute_{number}")
    return flags


def require(*modules):
    """Raise NotBuilt for a Python package that the build needs and this environment lacks."""
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise NotBuilt(f"{module} is not installed in the build environment")


def find_torch():
    """Folder of the torch that is installed here, without importing it."""
    require("torch")
    version = importlib.metadata.version("torch")
    if tuple(map(int, version.split(".")[:2])) < tuple(map(int, TORCH_TARGET.split("."))):
        raise NotBuilt(f"torch {version} is installed, and {TORCH_TARGET} or later is needed")
    return Path(importlib.util.find_spec("torch").submodule_search_locations[0])


def find_compiler():
    """The C++ compiler, with the arguments CXX gives it."""
    words = shlex.split(os.environ.get("CXX", "")) or ["g++" if shutil.which("g++") else "c++"]
    if shutil.which(words[0]) is None:
        raise NotBuilt(f"C++ compiler {words[0]} not found")
    return words


def find_nvcc():
    """nvcc on PATH, in CUDA_HOME or in /usr/local/cuda, with the host compiler it is to use."""
    folders = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda"]
    candidates = ["nvcc", *(os.path.join(folder, "bin", "nvcc") for folder in folders if folder)]
    found = [path for path in map(shutil.which, candidates) if path]
    if not found:
        raise NotBuilt("nvcc not found on PATH, in CUDA_HOME or in /usr/local/cuda")
    host = find_compiler()
    return [found[0], "-ccbin", host[0]] if len(host) == 1 else [found[0]]


def find_ninja():
    """The ninja of the Python package, else the one on PATH."""
    if importlib.util.find_spec("ninja"):
        import ninja

        return os.path.join(ninja.BIN_DIR, "ninja")
    if not shutil.which("ninja"):
        raise NotBuilt("ninja not found, neither as a Python package nor on PATH")
    return "ninja"


def output_of(*command):
    """What a program prints."""
    return subprocess.run(command, check=False, capture_output=True, text=True).stdout.strip()


def run_ninja(name, objects, target, link):
    """Compile `objects` {object: (source, command)} and link them into `target`, redoing only what changed.

    What a compiler prints stays in <object>.log; <name>.log in the build folder has all that this call printed. Raises
    NotBuilt when a compiler fails.
    """

    def edge(rule, output, inputs, command):
        text = shlex.join(map(str, command)).replace("$", "$$")
        return f"build {output}: {rule} {' '.join(map(str, inputs))}\n  command_line = {text}"

    logged = "> $out.log 2>&1; status=$$?; cat $out.log; exit $$status"
    lines = [
        f"builddir = {WORK / name}",
        f"rule compile\n  command = $command_line -MD -MF $out.d {logged}\n  depfile = $out.d\n  deps = gcc",
        "rule link\n  command = $command_line",
        *(
            edge("compile", output, [source], [*command, "-c", source, "-o", output])
            for output, (source, command) in objects.items()
        ),
        edge("link", target, objects, [*link, *objects, "-o", target]),
    ]
    WORK.mkdir(parents=True, exist_ok=True)
    recipe, log = WORK / f"{name}.ninja", WORK / f"{name}.log"
    recipe.write_text("\n\n".join(lines) + "\n")
    jobs = ["-j", os.environ["MAX_JOBS"]] if os.environ.get("MAX_JOBS") else []
    command = [find_ninja(), "-f", str(recipe), *jobs]
    with open(log, "w") as stream:
        finished = subprocess.run(command, check=False, stdout=stream, stderr=subprocess.STDOUT)
    if finished.returncode:
        raise NotBuilt(f"the compiler failed, see {log.resolve()}")


def torch_headers(torch):
    return ["-isystem", torch / "include"]


def torch_libraries(torch):
    """By soname only: torch is always imported first, and libtorch brings libtorch_cuda where that exists."""
    return ["-L", torch / "lib", "-Xlinker", "--no-as-needed", "-ltorch", "-ltorch_cpu"]


def build_cpu(record):
    """Build the CPU library, its kernels.cpp once per instruction set; returns its path."""
    torch, compiler = find_torch(), find_compiler()
    more = shlex.split(os.environ.get("CXXFLAGS", ""))
    command = [*compiler, *CODE_FLAGS, *CPU_FLAGS, *more, *torch_headers(torch)]
    builds = {"kernels.cpp": instruction_sets(), "tiles.cpp": tile_sets(compiler)}
    tiles = [name for name in TILE_SETS if name in builds["tiles.cpp"]]
    have_tiles = [f"-DHYPERCONV_{name.upper()}" for name in tiles]
    record["instruction_sets"] = [*instruction_sets(), *tiles]
    objects = {}
    for source in sorted(Path("csrc/cpu").glob("*.cpp")):
        for isa, flags in builds.get(source.name, {"": []}).items():
            own = [f"-DHYPERCONV_ISA={isa}", *flags] if isa else have_tiles
            objects[WORK / "cpu" / f"{source.stem}{isa and '_'}{isa}.o"] = (source, [*command, *own])
    target = WORK / "hyperconv_cpu.so"
    run_ninja("cpu", objects, target, [*compiler, "-shared", *torch_libraries(torch)])
    return target


def build_cuda(record):
    """Build the CUDA library and record what it was built for; returns its path.

    Symbols of libtorch_cuda stay undefined: beside a CPU torch there is none, and the loader leaves it alone.
    """
    if os.environ.get("HYPERCONV_CUDA") == "0":
        raise NotBuilt("HYPERCONV_CUDA=0 was set at installation")
    torch, nvcc = find_torch(), find_nvcc()
    known = re.findall(r"compute_(\d+)(\d)\b", output_of(nvcc[0], "--list-gpu-arch"))
    requested = os.environ.get("TORCH_CUDA_ARCH_LIST")
    architectures = cuda_architectures(requested, {f"{major}.{minor}" for major, minor in known})
    command = [*nvcc, *CODE_FLAGS, *CUDA_FLAGS, *gencode_flags(architectures), *torch_headers(torch)]
    sources = sorted(Path("csrc/cuda").glob("*.cu"), reverse=True)  # correlate_tile.cu, the longest, not last
    objects = {WORK / "cuda" / f"{source.stem}.o": (source, command) for source in sources}
    target = WORK / "hyperconv_cuda.so"
    own_runtime = ["-cudart", "static", "-Xlinker", "--exclude-libs=ALL"]
    run_ninja("cuda", objects, target, [*nvcc, "-shared", *own_runtime, *torch_libraries(torch)])
    record["cuda_architectures"] = architectures
    record["cuda_version"] = re.search(r"release ([\d.]+)", output_of(nvcc[0], "--version")).group(1)
    return target


def build_information(record):
    """Build the pybind11 module that tells how the others were built; returns its path."""
    require("torch", "pybind11")
    import pybind11

    headers = sysconfig.get_path("include")
    if not Path(headers, "Python.h").exists():
        raise NotBuilt(f"Python.h not found in {headers}: the headers of this Python are not installed")
    compiler = find_compiler()
    facts = {
        "VERSION": record["version"],
        "COMPILER": output_of(*compiler, "--version").partition("\n")[0],
        "FLAGS": " ".join(CODE_FLAGS + CPU_FLAGS),
        "INSTRUCTION_SETS": " ".join(record["instruction_sets"]),
        "CUDA_ARCHITECTURES": " ".join(record["cuda_architectures"]),
        "CUDA_VERSION": record["cuda_version"],
        "TORCH_TARGET": TORCH_TARGET,
        "TORCH_BUILD": importlib.metadata.version("torch"),
    }
    definitions = [f'-DHYPERCONV_{name}="{fact}"' for name, fact in facts.items()]
    includes = ["-isystem", headers, "-isystem", pybind11.get_include()]
    command = [*compiler, "-O2", "-std=c++17", "-fPIC", "-fvisibility=hidden", *definitions, *includes]
    target = WORK / ("build_info" + sysconfig.get_config_var("EXT_SUFFIX"))
    objects = {WORK / "build_info" / "bindings.o": (Path("csrc/bindings.cpp"), command)}
    run_ninja("build_info", objects, target, [*compiler, "-shared"])
    return target


class BuildNative(build_ext):
    """Builds each library that can be built here, and records why not for each that cannot."""

    delivered = ()

    def run(self):
        record = {
            "version": self.distribution.get_version(),
            "torch_target": TORCH_TARGET,
            "instruction_sets": [],
            "cuda_architectures": [],
            "cuda_version": "",
            "failures": {},
        }
        built = []
        for name, build in (("cpu", build_cpu), ("cuda", build_cuda), ("build_info", build_information)):
            try:
                built.append(build(record))
            except NotBuilt as reason:
                record["failures"][name] = str(reason)
        failures = "; ".join(f"{name} ({reason})" for name, reason in record["failures"].items())
        if failures:
            print(f"hyperconv: not built: {failures}", file=sys.stderr)
        if "cuda" in record["failures"] and os.environ.get("HYPERCONV_CUDA") == "1":
            raise SystemExit("hyperconv: HYPERCONV_CUDA=1 asks for a CUDA library, and it cannot be built")
        self.deliver(built, record)

    def deliver(self, built, record):
        """Put what was built, and only that, into hyperconv/_native; a library in use is replaced whole."""
        root = Path() if self.inplace or self.editable_mode else Path(self.build_lib)
        folder = root / "hyperconv" / "_native"
        folder.mkdir(parents=True, exist_ok=True)
        for stale in {path.name for path in folder.glob("*.so")} - {path.name for path in built}:
            (folder / stale).unlink()
        for path in built:
            shutil.copy2(path, folder / (path.name + ".new"))
            os.replace(folder / (path.name + ".new"), folder / path.name)
        record["sizes"] = {path.name: path.stat().st_size for path in built}
        (folder / "build.json").write_text(json.dumps(record, indent=2) + "\n")
        self.delivered = [folder / "build.json", *(folder / path.name for path in built)]

    def get_outputs(self):
        return list(map(str, self.delivered))

    def get_output_mapping(self):
        return {}


if __name__ == "__main__":
    sources = sorted(map(str, Path("csrc").rglob("*.*")))
    setup(
        packages=[*find_packages(include=["hyperconv", "hyperconv.*"]), "hyperconv.kernels"],
        package_dir={"hyperconv.kernels": "kernels"},
        ext_modules=[Extension("hyperconv._native.build_info", ["csrc/bindings.cpp"], depends=sources)],
        cmdclass={"build_ext": BuildNative},
    )
