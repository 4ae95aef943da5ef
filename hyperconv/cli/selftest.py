"""`hyperconv selftest`: check the kernels on this machine, and print what a bug report needs."""

import dataclasses
import enum
import json
from pathlib import Path
from typing import Annotated

import torch
import typer

from hyperconv.cli.options import Dtype
from hyperconv.errors import InputError
from hyperconv.files import replacing
from hyperconv.kernels.arithmetic import ARITHMETICS
from hyperconv.ops.backends import backends
from hyperconv.ops.selftest import CHECKED, Check, devices, environment, here
from hyperconv.ops.selftest import selftest as checks

Backend = enum.Enum("Backend", {name: name for name in CHECKED}, type=str)
_LINE = "{:<7} {:<7} {:<20} {:<31} {:<9} {:>8} {:>8} {:>9}  {}"
_TITLES = ("backend", "device", "operation", "class", "dtype", "error", "PyTorch", "ms", "verdict")


def selftest(
    backend: Annotated[list[Backend] | None, typer.Option(help="Check this backend only; repeat for several.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1 or all.")] = "all",
    dtype: Annotated[list[Dtype] | None, typer.Option(help="Check this dtype only; repeat for several.")] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Every class of kernel, and sizes that fill no tile; takes far longer.")
    ] = False,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write it all to FILE too.")] = None,
) -> None:
    """Check every kernel on this machine beside plain PyTorch.

    An error is in units of the largest value of an exact result, and may be
    twice PyTorch's own. The exit code is 1 when a kernel is wrong. On a GPU the
    first run compiles the kernels, which takes minutes. Paste what it prints
    into a bug report.

    \b
    Examples:
      hyperconv selftest
      hyperconv selftest --device cuda --dtype bfloat16 --json selftest.json
      TRITON_INTERPRET=1 hyperconv selftest --backend triton --device cpu
    """
    names = [each.value for each in backend or ()]
    arithmetic = [each.value for each in dtype or ()] or ARITHMETICS
    chosen = {each: here(each, names) for each in _devices(device)}
    chosen = {each: found for each, found in chosen.items() if found}
    if not chosen:
        raise InputError(_nothing_runs(names or list(CHECKED), device))
    facts = environment()
    for label, text in facts.items():
        print(f"{label:<12} {text}")
    print("\n" + _LINE.format(*_TITLES))
    done: list[Check] = []
    finished = False
    try:
        for where, found in chosen.items():
            for name in found:
                for check in checks(name, where, arithmetic, every):
                    print(_line(check), flush=True)
                    done.append(check)
        finished = True
    finally:  # an interrupted run has found something too
        if json_file is not None:
            _write(json_file, facts, done, finished)
    wrong = [check for check in done if not check.outcome.passed]
    print(f"\n{len(wrong)} of {len(done)} checks went wrong" if wrong else f"\nall {len(done)} checks passed")
    if wrong:
        raise typer.Exit(1)


def _devices(name: str) -> list[torch.device]:
    found = [each for each in devices() if name in ("all", each.type, str(each))]
    if not found:
        raise InputError(f"--device is {name!r}; here are {', '.join(map(str, devices()))} and all")
    return found


def _nothing_runs(names: list[str], device: str) -> str:
    reasons = [
        f"{name} does not run on {kind}: {reason}"
        for name in names
        for kind, reason in backends()[name].items()
        if reason and kind in {each.type for each in _devices(device)}
    ]
    return "nothing to check; " + "; ".join(reasons)


def _line(check: Check) -> str:
    outcome, trial = check.outcome, check.trial
    numbers = ["-" if number is None else f"{number:.1e}" for number in (outcome.error, outcome.pytorch)]
    time = "-" if outcome.milliseconds is None else f"{outcome.milliseconds:.3f}"
    verdict = "ok" if outcome.passed else f"WRONG: {outcome.problem}"
    return _LINE.format(
        check.backend, str(check.device), trial.operation, str(trial.layer), trial.arithmetic, *numbers, time, verdict
    )


def _write(file: Path, facts: dict[str, str], done: list[Check], finished: bool) -> None:
    content = {
        "environment": facts,
        "finished": finished,
        "passed": finished and all(check.outcome.passed for check in done),
        "checks": [
            {
                "backend": check.backend,
                "device": str(check.device),
                "operation": check.trial.operation,
                "class": str(check.trial.layer),
                "dtype": check.trial.arithmetic,
                "passed": check.outcome.passed,
                **dataclasses.asdict(check.outcome),
            }
            for check in done
        ],
    }
    with replacing(file) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n")
