"""The `hyperconv` command: gathers the verbs, and turns every error into one line and an exit code."""

import errno
import io
import os
import sys
import tempfile
import traceback
from typing import Annotated

import typer

from hyperconv.cli.animate import animate
from hyperconv.cli.bench import bench
from hyperconv.cli.demo import demo
from hyperconv.cli.evaluate import evaluate
from hyperconv.cli.info import report
from hyperconv.cli.inject import edit, harmonize, paint, style
from hyperconv.cli.instances import invert
from hyperconv.cli.meta import adapt, interpolate
from hyperconv.cli.sample import reconstruct, retarget, sample, superres
from hyperconv.cli.selftest import selftest
from hyperconv.cli.train import train
from hyperconv.cli.training import Interrupted
from hyperconv.cli.tune import tune
from hyperconv.errors import InputError, RankLost, TrainingDiverged
from hyperconv.gan.ranks import rank_from_environment
from hyperconv.version import __version__

BAD_INPUT, FAILED, INTERRUPTED = 2, 1, 130
FULL_DISK = (errno.ENOSPC, errno.EDQUOT)
OUT_OF_MEMORY = ("out of memory", "allocate memory")
MET_BY_ALL = (TrainingDiverged, RankLost, Interrupted, KeyboardInterrupt, typer.Abort)
UsageError = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "UsageError")

app = typer.Typer(name="hyperconv", no_args_is_help=True, add_completion=False, rich_markup_mode="rich")


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"hyperconv {__version__}")
        raise typer.Exit()


@app.callback()
def about(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and leave."),
    ] = False,
) -> None:
    """Generative models of single photos, many photos at once.

    One hypernetwork learns from a set of photos and turns each of them,
    or a photo it never saw, into a small pyramid GAN that draws new images
    with the photo's own texture and layout.

    \b
    A first tour:
      hyperconv demo                            minutes on a CPU, then pictures
      hyperconv train photos/ --out run         learn from your own photos
      hyperconv sample run --count 8            new images of each
      hyperconv retarget run --size 128x512     the same at another shape
      hyperconv animate run --image lake        a photo that moves
      hyperconv interpolate run lake mountain   one photo's model to another's
      hyperconv adapt run unseen.jpg            a photo it never saw
      hyperconv evaluate run                    how good the samples are

    `hyperconv VERB --help` explains each verb with examples.
    """


def info() -> None:
    """Say what runs on this machine, and for everything that does not, why.

    \b
    Examples:
      hyperconv info
      HYPERCONV_BACKEND=reference hyperconv info    on plain PyTorch
    """
    print(report())


USES = (sample, retarget, superres, animate, harmonize, edit, paint, style, interpolate, adapt, invert, reconstruct)
for verb in (train, *USES, evaluate, demo, info, selftest, bench, tune):
    app.command()(verb)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and leave with 0 done, 2 bad input, 130 interrupted or 1 anything else."""
    _print_any_letters()
    try:
        code = app(args=arguments, prog_name="hyperconv", standalone_mode=False)
        if code == INTERRUPTED:
            _fail("interrupted", INTERRUPTED)
    except Interrupted as error:
        code = _fail(str(error), INTERRUPTED, error)
    except (KeyboardInterrupt, typer.Abort) as error:
        code = _fail("interrupted", INTERRUPTED, error)
    except Exception as error:
        if os.environ.get("HYPERCONV_TRACEBACK") == "1":
            raise
        code = _fail(*_explain(error), error)
    sys.exit(code or 0)


def _fail(line: str, code: int, error: BaseException | None = None) -> int:
    """Say it; of the processes of a training, all but the first keep what all of them meet to themselves."""
    rank = rank_from_environment()
    if rank == 0:
        print(f"hyperconv: {line}", file=sys.stderr)
    elif not isinstance(error, MET_BY_ALL):
        print(f"hyperconv, process {rank}: {line}", file=sys.stderr)
    return code


def _explain(error: Exception) -> tuple[str, int]:
    """One line for `error`, and the exit code."""
    if isinstance(error, InputError):
        return _one_line(error), BAD_INPUT
    if isinstance(error, (TrainingDiverged, RankLost)):
        return _one_line(error), FAILED
    if isinstance(error, UsageError):
        if not error.format_message():  # a bare `hyperconv`: the help has been printed
            return "name a verb, for example: hyperconv demo --out demo", BAD_INPUT
        where = error.ctx.command_path if error.ctx else "hyperconv"
        return f"{_one_line(error.format_message())} ({where} --help shows how)", BAD_INPUT
    if getattr(error, "errno", None) in FULL_DISK or "No space left" in str(error):
        return f"the disk is full: {_one_line(error)}; free some space, then run again", FAILED
    if isinstance(error, OSError) and error.filename is not None:
        return (
            f"cannot use {error.filename}: {error.strerror}; choose another path or mend its permissions",
            BAD_INPUT,
        )
    if isinstance(error, MemoryError) or any(sign in str(error).lower() for sign in OUT_OF_MEMORY):
        return (
            "out of memory; use a smaller --batch-size or --max-size, or a smaller --size of samples",
            FAILED,
        )
    return (
        f"{type(error).__name__}: {_one_line(error)} (unexpected; {_write_log()})",
        FAILED,
    )


def _one_line(text: object) -> str:
    return " ".join(str(text).split())


def _write_log() -> str:
    """The traceback into a file of its own: says where, or why not."""
    options = {"prefix": "hyperconv-", "suffix": ".log", "encoding": "utf-8", "errors": "backslashreplace"}
    try:
        with tempfile.NamedTemporaryFile("w", delete=False, **options) as log:
            log.write(f"{' '.join(sys.argv)}\n{traceback.format_exc()}")
    except OSError as error:
        return f"no log could be written: {error.strerror}; HYPERCONV_TRACEBACK=1 shows it"
    return f"the full log is in {log.name}"


def _print_any_letters() -> None:
    """Letters that the encoding of the output lacks become question marks."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


if __name__ == "__main__":
    main()
