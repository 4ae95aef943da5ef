"""Every verb that uses a trained run, end to end, on a run of every system."""

import pytest
import torch
from PIL import Image, ImageSequence

from hyperconv.apps.train import train
from hyperconv.data.images import read_photo, save_png

SYSTEMS = ("meta", "consingan", "singan")
SHAPE = {"max_size": 40, "min_size": 16, "scale_count": 3, "hidden": 8, "iterations": (3,), "device": "cpu"}


@pytest.fixture(scope="session")
def runs(photos, run, tmp_path_factory):
    """A run of each system on china and astronaut (the meta-GAN's also on coffee)."""
    folders = {"meta": run}
    for system in SYSTEMS[1:]:
        folders[system] = tmp_path_factory.mktemp(system) / "run"
        train([photos / "china.png", photos / "astronaut.png"], folders[system], "tiny", system=system, **SHAPE)
    return folders


@pytest.fixture(params=SYSTEMS)
def any_run(request, runs):
    return runs[request.param]


@pytest.fixture(scope="session")
def pasted(photos, tmp_path_factory):
    """(picture, mask): china with a red block in it."""
    folder = tmp_path_factory.mktemp("pasted")
    picture = read_photo(photos / "china.png").pixels
    mask = torch.full((1, *picture.shape[1:]), -1.0)
    mask[:, 20:50, 30:70] = 1
    red = torch.tensor([1.0, -1, -1])[:, None, None]
    save_png(torch.where(mask > 0, red, picture), folder / "block.png")
    save_png(mask, folder / "mask.png")
    return folder / "block.png", folder / "mask.png"


def files(folder):
    return sorted(file.name for file in folder.iterdir())


def shape(path):
    return tuple(read_photo(path).pixels.shape)


def photo_shape(run):
    return (16, 24) if run.parent.name.startswith("runs") else (27, 40)


def test_retarget(hyperconv, any_run, tmp_path):
    answer = hyperconv("retarget", any_run, "-i", "china", "--size", "20x70", "-n", 2, "--out", tmp_path)
    assert answer.code == 0 and answer.error == "" and str(tmp_path / "20x70_sheet.png") in answer.out
    assert files(tmp_path) == ["20x70_sheet.png", "china_20x70_01.png", "china_20x70_02.png"]
    assert shape(tmp_path / "china_20x70_02.png") == (3, 20, 70)


def test_superres(hyperconv, any_run, tmp_path):
    answer = hyperconv("superres", any_run, "-i", "china", "--factor", 2.5, "--out", tmp_path)
    height, width = photo_shape(any_run)
    assert answer.code == 0 and files(tmp_path) == ["china_x2.5.png", "x2.5_sheet.png"]
    assert shape(tmp_path / "china_x2.5.png") == (3, round(height * 2.5), round(width * 2.5))


def test_animate(hyperconv, any_run, tmp_path):
    answer = hyperconv("animate", any_run, "-i", "china", "--frames", 3, "--loop", "--fps", 20, "--out", tmp_path)
    assert answer.code == 0 and files(tmp_path) == ["china.gif", "china_frames.png"]
    with Image.open(tmp_path / "china.gif") as movie:
        assert movie.size == photo_shape(any_run)[::-1]
        durations = [frame.info["duration"] for frame in ImageSequence.Iterator(movie)]
        assert sum(durations) == 150  # ms; frames that are equal are joined


@pytest.mark.parametrize("verb, folder", [("harmonize", "harmonized"), ("edit", "edited")])
def test_harmonize_and_edit(hyperconv, any_run, pasted, verb, folder):
    picture, mask = pasted
    arguments = (verb, any_run, picture, "--mask", mask, "--image", "china")
    answer = hyperconv(*arguments)
    assert answer.code == 0 and answer.error == ""
    assert files(any_run / folder) == ["china-block.png", "china-block_sheet.png"]
    before = (any_run / folder / "china-block.png").read_bytes()
    assert hyperconv(*arguments).complains("china-block.png", "--force")
    assert hyperconv(*arguments, "--force", "--seed", 0).code == 0
    assert (any_run / folder / "china-block.png").read_bytes() == before


@pytest.mark.parametrize("verb", ["paint", "style"])
def test_paint_and_style(hyperconv, any_run, photos, tmp_path, verb):
    answer = hyperconv(verb, any_run, photos, photos.parent / "flower.png", "-i", "astronaut", "--out", tmp_path)
    assert answer.code == 0 and answer.out.count("result: ") == 4
    names = ("astronaut", "china", "coffee", "flower")
    assert files(tmp_path) == sorted(f"astronaut-{name}{end}.png" for name in names for end in ("", "_sheet"))


def test_reconstruct(hyperconv, any_run, tmp_path):
    answer = hyperconv("reconstruct", any_run, "-i", "china", "-i", "astro", "--out", tmp_path)
    assert answer.code == 0 and files(tmp_path) == ["astronaut.png", "china.png", "sheet.png"]
    china, astronaut, sheet = answer.out.splitlines()
    assert china.startswith("china      PSNR ") and "dB  RMSE 0." in astronaut and sheet.startswith("sheet: ")


def test_what_one_system_cannot_do(hyperconv, runs, pasted, tmp_path):
    picture, mask = pasted
    blend = (picture, "-m", mask, "-i", "china", "--out", tmp_path)
    assert hyperconv("interpolate", runs["singan"], "china", "astronaut").complains("only a run of --system meta")
    assert hyperconv("adapt", runs["consingan"], picture).complains("consingan", "--system meta")
    assert hyperconv("harmonize", runs["consingan"], *blend, "--start-scale", 1).complains("coarsest only")
    assert hyperconv("harmonize", runs["singan"], *blend, "--fine-tune", 5).complains("ConSinGAN's")
    assert hyperconv("style", runs["singan"], picture, "-i", "china", "--start-scale", 3).complains("1 to 2")
    assert not any(tmp_path.iterdir())


def test_a_photo_the_meta_gan_never_saw(hyperconv, run, photos, pasted, tmp_path):
    flower = photos.parent / "flower.png"
    assert hyperconv("animate", run, "-i", flower, "--frames", 2, "--out", tmp_path).code == 0
    assert hyperconv("style", run, photos / "china.png", "-i", flower, "--out", tmp_path).code == 0
    assert {"flower.gif", "flower-china.png"} < set(files(tmp_path))


def test_fine_tuning(hyperconv, runs, pasted, tmp_path):
    picture, mask = pasted
    for steps, folder in ((0, "as_is"), (2, "tuned")):
        answer = hyperconv(
            "harmonize",
            runs["consingan"],
            picture,
            "-m",
            mask,
            "-i",
            "china",
            "--fine-tune",
            steps,
            "--out",
            tmp_path / folder,
        )
        assert answer.code == 0
    as_is, tuned = ((tmp_path / folder / "china-block.png").read_bytes() for folder in ("as_is", "tuned"))
    assert as_is != tuned


def test_several_composites(hyperconv, runs, pasted, tmp_path):
    picture, mask = pasted
    other = picture.with_name("other.png")
    other.write_bytes(picture.read_bytes())
    start = ("harmonize", runs["singan"], picture, other, "-i", "china", "--out", tmp_path)
    assert hyperconv(*start, "-m", mask, "-m", mask).code == 0
    assert {"china-block.png", "china-other.png"} < set(files(tmp_path))
    assert hyperconv(*start, "-m", mask, "-m", mask, "-m", mask).complains("2 pictures and 3 masks")


@pytest.mark.parametrize("verb", ["harmonize", "paint"])
def test_pictures_of_one_name(hyperconv, runs, pasted, tmp_path, verb):
    picture, mask = pasted
    other = tmp_path / "more" / picture.name
    other.parent.mkdir()
    other.write_bytes(picture.read_bytes())
    masks = ("-m", mask) if verb == "harmonize" else ()
    start = (verb, runs["singan"], picture, other, "-i", "china", *masks, "--out", tmp_path / "out")
    results = ["china-block-2.png", "china-block-2_sheet.png", "china-block.png", "china-block_sheet.png"]
    assert hyperconv(*start).code == 0 and files(tmp_path / "out") == results
    (tmp_path / "out" / "china-block.png").unlink()
    assert hyperconv(*start).complains("there already")
    assert files(tmp_path / "out") == [name for name in results if name != "china-block.png"]


def test_what_cannot_be_read_or_written_is_said_before_anything_is_drawn(hyperconv, runs, pasted, photos, tmp_path):
    picture, mask = pasted
    (tmp_path / "text.png").write_text("no image")
    out = ("-i", "china", "--out", tmp_path / "out")
    pictures = (picture, photos / "china.png")
    blend = ("harmonize", runs["consingan"], *pictures, "-m", mask)
    assert hyperconv("paint", runs["singan"], picture, tmp_path / "text.png", *out).complains("text.png")
    assert hyperconv(*blend, "-m", tmp_path / "text.png", *out).complains("text.png")
    assert not (tmp_path / "out").exists()
    out = ("-i", "china", "--out", mask)
    assert hyperconv(*blend, *out, "--fine-tune", 10**9).complains("mask.png is no folder")
    assert hyperconv("animate", runs["singan"], *out, "--frames", 10**9).complains("mask.png is no folder")
    assert hyperconv("evaluate", runs["singan"], *out, "-n", 10**9).complains("mask.png is no folder")


def test_masks_with_a_problem(hyperconv, runs, pasted, tmp_path):
    picture, mask = pasted
    marked = Image.open(mask)
    start = ("edit", runs["singan"], picture, "-i", "china", "--out", tmp_path, "--force", "--mask")
    marked.resize((50, 50)).save(tmp_path / "small.png")
    answer = hyperconv(*start, tmp_path / "small.png")
    assert answer.code == 0 and "50x50" in answer.error and answer.error.count("\n") == 1
    marked.point(lambda value: 255 - value).save(tmp_path / "inverted.png")
    answer = hyperconv(*start, tmp_path / "inverted.png")
    assert answer.code == 0 and "inverted" in answer.error and answer.error.count("\n") == 1
    Image.new("L", marked.size).save(tmp_path / "empty.png")
    assert hyperconv(*start, tmp_path / "empty.png").complains("empty.png", "empty")
    glass = marked.convert("RGBA")
    glass.putalpha(marked)
    glass.save(tmp_path / "glass.png")
    assert hyperconv(*start, tmp_path / "glass.png").complains("glass.png", "transparent")
    assert hyperconv(*start, tmp_path / "absent.png").complains("absent.png", "no such file")


@pytest.mark.parametrize(
    "arguments, told",
    [
        (["superres", "--factor", "0.5"], ["factor is 0.5"]),
        (["superres", "--factor", "many"], ["--factor"]),
        (["retarget"], ["--size"]),
        (["retarget", "--size", "8x90"], ["8x90", "11"]),
        (["animate", "--alpha", "1.5"], ["alpha is 1.5"]),
        (["animate", "--start-scale", "9"], ["9", "0 to 2"]),
        (["animate", "--format", "avi"], ["avi", "gif"]),
        (["animate", "--frames", "0"], ["--frames"]),
        (["reconstruct", "--image", "zebra"], ["'zebra'", "china"]),
        (["paint", "pictures_that_are_not_there.png"], ["pictures_that_are_not_there.png"]),
        (["harmonize", "x.png"], ["--mask"]),
    ],
)
def test_bad_use(hyperconv, runs, arguments, told):
    verb, *rest = arguments
    assert hyperconv(verb, runs["singan"], *rest).complains(*told)


def test_a_run_of_many_photos_wants_one_named(hyperconv, runs, photos):
    assert hyperconv("paint", runs["singan"], photos / "china.png").complains("2 photos", "--image", "china")


def test_mp4_without_ffmpeg_names_the_package(hyperconv, runs, monkeypatch):
    monkeypatch.setattr("hyperconv.data.movie.find_spec", lambda name: None)
    answer = hyperconv("animate", runs["singan"], "-i", "china", "--format", "mp4")
    assert answer.complains("pip install imageio-ffmpeg")


def test_a_grey_run(hyperconv, pasted, photos, tmp_path):
    picture, mask = pasted
    Image.open(photos / "china.png").convert("L").save(tmp_path / "grey.png")
    for system in ("consingan", "singan"):
        run = tmp_path / system
        train([tmp_path / "grey.png"], run, "tiny", system=system, **{**SHAPE, "iterations": (1,)})
        for verb, *rest in (
            ["sample", "-n", 1],
            ["retarget", "--size", "20x50"],
            ["superres", "--factor", 2],
            ["animate", "--frames", 2],
            ["harmonize", picture, "-m", mask],
            ["edit", picture, "-m", mask],
            ["paint", picture],
            ["style", picture],
            ["reconstruct"],
        ):
            assert hyperconv(verb, run, *rest).code == 0
        for file in ("samples/grey_01.png", "superres/grey_x2.png", "painted/grey-block.png", "edited/grey-block.png"):
            assert Image.open(run / file).mode == "L"
