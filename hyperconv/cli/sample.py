"""New images of a run's photos: sample, retarget, superres, reconstruct."""

from typing import Annotated

import typer

from hyperconv.apps.model import Model
from hyperconv.apps.reconstruction import write_reconstructions
from hyperconv.apps.retarget import write_retargeted
from hyperconv.apps.sample import write_samples
from hyperconv.apps.superres import write_superres
from hyperconv.cli.instances import Prior, sample_dip
from hyperconv.cli.options import (
    AnyImages,
    Count,
    Device,
    Force,
    Images,
    Out,
    Run,
    Seed,
    beside,
    leave_out,
    parse_size,
    system_of,
)


def sample(
    run: Run,
    image: Images = None,
    count: Count = 6,
    size: Annotated[
        str | None,
        typer.Option(
            metavar="HxW",
            show_default=False,
            help="Height x width of the samples in pixels (default: the photo's).",
        ),
    ] = None,
    start_scale: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="K",
            show_default=False,
            help="Keep the photo as the model knows it below scale K, draw only the finer scales: "
            "0 invents the layout too, 1 and up vary ever smaller things (default: 0; 1 for a harmonisation or editing "
            "run, whose coarsest scale knows no noise).",
        ),
    ] = None,
    prior: Prior = None,
    seed: Seed = 0,
    device: Device = "auto",
    out: Out = None,
    force: Force = False,
) -> None:
    """Draw new images of photos in a run.

    Writes every sample as a PNG, and sheet.png: photo, reconstruction and
    samples side by side. With a run of --system dip: images around features
    of its images (--prior), or of those named FOLDER:NUMBER or by a file.

    \b
    Examples:
      hyperconv sample run                                six samples of every photo
      hyperconv sample run --image lake --count 20        twenty of one
      hyperconv sample run -i lake --size 128x512         a panorama
      hyperconv sample run -i lake --start-scale 2        the same layout, other details
      hyperconv sample dip_run --count 64 --prior mixed   between images of a run of --system dip
      hyperconv sample dip_run -i cats:3 -i photo.jpg     around one of them, around a photo
    """
    if system_of(run) == "dip":
        leave_out("--system dip", size=size, start_scale=start_scale)
        sample_dip(run, image, count, prior, seed, device, out, force)
        return
    leave_out("pyramids", prior=prior)
    wanted_size, model, out = parse_size(size), Model.open(run, device), out or beside(run, "samples")
    names = image or model.names
    sheet = write_samples(model, names, out, count, seed=seed, size=wanted_size, start_scale=start_scale, force=force)
    print(f"{count * len(names)} samples in {out}\nsheet: {sheet}")


def retarget(
    run: Run,
    size: Annotated[
        str,
        typer.Option(
            metavar="HxW", show_default=False, help="Height x width of the results in pixels; any size and shape."
        ),
    ],
    image: Images = None,
    count: Annotated[
        int, typer.Option("--count", "-n", min=1, metavar="NUMBER", help="How many versions of each photo.")
    ] = 1,
    new_layout: Annotated[
        bool | None,
        typer.Option(
            "--new-layout/--keep-layout",
            show_default=False,
            help="Draw the layout anew, or let things keep their place, stretched (default: kept; anew for a run of "
            "--system consingan that knows noise: its textures fade on stretched features).",
        ),
    ] = None,
    seed: Seed = 0,
    device: Device = "auto",
    out: Out = None,
    force: Force = False,
) -> None:
    """Bring photos of a run to another size and shape.

    The layout of the photo is stretched, or drawn anew, its texture is drawn
    in its own size. Writes a PNG for each version, and a sheet that shows the
    photo, the photo resized, and the results.

    \b
    Examples:
      hyperconv retarget run --image lake --size 128x512     a panorama
      hyperconv retarget run -i lake --size 512x512 -n 4     four larger squares
      hyperconv retarget run --size 200x300 --new-layout     every photo, freely
    """
    wanted, model, out = parse_size(size), Model.open(run, device), out or beside(run, "retargeted")
    names = image or model.names
    sheet = write_retargeted(model, names, out, wanted, count, seed=seed, new_layout=new_layout, force=force)
    print(f"{count * len(names)} images of {size} in {out}\nsheet: {sheet}")


def superres(
    run: Run,
    image: AnyImages = None,
    factor: Annotated[
        float, typer.Option(metavar="NUMBER", help="Height and width of the result over the photo's as trained.")
    ] = 4.0,
    seed: Seed = 0,
    device: Device = "auto",
    out: Out = None,
    force: Force = False,
) -> None:
    """Enlarge photos of a run beyond their size, with detail of their own.

    The finest generator works on its own enlarged result, again and again
    (a ConSinGAN's scales all on the large photo). It invents detail like
    the photo's, only finer: shrunk, the result is the photo. Best with a run
    of --system singan --preset tiny-superres or paper-superres. Writes a PNG
    for each photo, and a sheet that shows it beside plain enlargement.

    \b
    Examples:
      hyperconv superres run --image lake                    4 times the size
      hyperconv superres run --image lake --factor 2.5
    """
    model, out = Model.open(run, device), out or beside(run, "superres")
    names = image or model.names
    sheet = write_superres(model, names, out, factor, seed=seed, force=force)
    print(f"{len(names)} images {factor:g} times the size in {out}\nsheet: {sheet}")


def reconstruct(
    run: Run, image: AnyImages = None, device: Device = "auto", out: Out = None, force: Force = False
) -> None:
    """Show the photos of a run as their models know them, and how far off that is.

    Writes a PNG for each photo, and a sheet of photos and reconstructions.
    RMSE is of values from 0 to 1.

    \b
    Examples:
      hyperconv reconstruct run
      hyperconv reconstruct run --image lake --out lake
    """
    model, out = Model.open(run, device), out or beside(run, "reconstructions")
    sheet, results = write_reconstructions(model, image or model.names, out, force=force)
    width = max(len(result.name) for result in results)
    for result in results:
        print(f"{result.name:{width}}  PSNR {result.psnr:.2f} dB  RMSE {result.rmse:.4f}")
    print(f"sheet: {sheet}")
