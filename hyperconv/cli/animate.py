"""`hyperconv animate`: a photo that moves."""

from typing import Annotated, Literal

import typer

from hyperconv.apps.animate import write_animations
from hyperconv.apps.model import Model
from hyperconv.cli.options import AnyImages, Device, Force, Out, Run, Seed, beside
from hyperconv.cli.progress import counted


def animate(
    run: Run,
    image: AnyImages = None,
    frames: Annotated[int, typer.Option(min=1, metavar="NUMBER", help="How many.")] = 100,
    fps: Annotated[float, typer.Option(min=0.1, max=100, metavar="NUMBER", help="Frames per second.")] = 10,
    loop: Annotated[bool, typer.Option("--loop", help="Let the last frame go over into the first.")] = False,
    alpha: Annotated[
        float | None,
        typer.Option(
            metavar="0..1",
            show_default=False,
            help="How strongly the motion is drawn back to the photo (default: 0.1; 0.5 for a run of --system consingan "
            "that reconstructs photos from themselves, whose textures fade on a freer walk).",
        ),
    ] = None,
    beta: Annotated[
        float, typer.Option(metavar="0..1", help="How smooth the motion is; published are 0.8 to 0.95.")
    ] = 0.9,
    start_scale: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="K",
            show_default=False,
            help="Scales below K hold still: 0 moves everything, 1 and up ever smaller things (default: 0; 1 for a "
            "harmonisation or editing run, whose coarsest scale knows no noise).",
        ),
    ] = None,
    kind: Annotated[
        Literal["gif", "mp4", "webp"],
        typer.Option("--format", help="Of the file. mp4 needs the package imageio-ffmpeg."),
    ] = "gif",
    seed: Seed = 0,
    device: Device = "auto",
    out: Out = None,
    force: Force = False,
) -> None:
    """Set photos of a run in motion: a random walk in the noise they are drawn from.

    Writes one movie for each photo, and some of its frames side by side as
    NAME_frames.png. Without --loop it begins with the photo as the model
    knows it. Best with a run of --system consingan --preset tiny-animate or
    paper-animate, which reconstructs photos from noise, or of --system singan.

    \b
    Examples:
      hyperconv animate run --image lake
      hyperconv animate run -i lake --loop --format webp --fps 20
      hyperconv animate run -i fire --start-scale 1 --beta 0.8     only smaller things, livelier
    """
    model, out = Model.open(run, device), out or beside(run, "animations")
    with counted("frames") as on_frame:
        for movie, sheet in write_animations(
            model,
            image or model.names,
            out,
            frames,
            kind=kind,
            fps=fps,
            alpha=alpha,
            beta=beta,
            start_scale=start_scale,
            loop=loop,
            seed=seed,
            force=force,
            on_frame=on_frame,
        ):
            print(f"movie: {movie}\nsome frames: {sheet}")
