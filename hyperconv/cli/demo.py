"""`hyperconv demo`: from nothing to pictures in a few minutes."""

from pathlib import Path
from typing import Annotated

import typer

from hyperconv.apps.demo import demo_trainer, draw_pictures
from hyperconv.apps.train import follow
from hyperconv.cli.progress import show
from hyperconv.heap import keep_freed_memory


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="Where the run and pictures go.")] = Path(
        "demo"
    ),
    device: Annotated[
        str, typer.Option(metavar="DEVICE", help="cpu, cuda, cuda:1, … or auto: a GPU where there is one.")
    ] = "auto",
) -> None:
    """Train on bundled photos, then draw, walk between two, and model one never seen.

    Takes the tiny preset: a few minutes on two CPU cores. A demo that was
    interrupted goes on where it stopped.

    \b
    Example:
      hyperconv demo --out demo
    """
    trainer = demo_trainer(out, device=device)
    print(f"training on {', '.join(trainer.collection.names)}, on {trainer.device}")
    keep_freed_memory()
    show(trainer, follow(trainer))
    pictures = draw_pictures(out, device=device)
    print(
        f"samples of every photo      {pictures.samples}\n"
        f"from one photo to another   {pictures.interpolation}\n"
        f"a photo it never saw        {pictures.unseen}\n"
        f"the same, tuned a little    {pictures.tuned}"
    )
