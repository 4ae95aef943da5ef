import pytest
import torch

from hyperconv.apps.against import find_images, read_images
from hyperconv.data.images import save_png
from hyperconv.errors import InputError


def write(folder, *names, size=(12, 10)):
    for name in names:
        save_png(torch.zeros(3, *size), folder / name)


def found(folder, *names):
    images = find_images(folder, names)
    return {name: [str(file.relative_to(folder)) for file in files] for name, files in images.items()}


def test_every_way_to_name_images_of_a_photo(tmp_path):
    write(tmp_path, "lake.png", "lake_2.png", "lake_10.png", "sheet.png", "lakeside.png", "hill/b.png", "hill/a10.png")
    write(tmp_path, "hill/a2.png", "hill/deep/c.png", "lake_20x70.png", "lake_frames.png")
    assert found(tmp_path, "lake", "hill", "sea") == {
        "lake": ["lake.png", "lake_2.png", "lake_10.png"],
        "hill": ["hill/a2.png", "hill/a10.png", "hill/b.png"],
        "sea": [],
    }


def test_a_folder_of_a_photos_name_holds_all_its_images(tmp_path):
    write(tmp_path, "lake.png", "lake_1.png", "lake/x.png")
    assert found(tmp_path, "lake") == {"lake": ["lake/x.png"]}


def test_a_number_is_no_part_of_a_name_where_the_photo_of_that_name_has_numbered_images_too(tmp_path):
    write(tmp_path, *(f"{name}_0{number}.png" for name in ("lake", "lake_01", "scale", "sheet") for number in (1, 2)))
    write(tmp_path, "sheet.png", "scale_0_step_00010.png", "scale_1_step_00010.png")
    names = "lake", "lake_01", "scale", "sheet"
    assert found(tmp_path, *names) == {name: [f"{name}_01.png", f"{name}_02.png"] for name in names}


def test_the_longest_name_that_fits_owns_an_image(tmp_path):
    write(tmp_path, "lake_2.png", "lake_3.png", "lake_3_1.png", "1_1.png", "10_1.png")
    assert found(tmp_path, "lake", "lake_2", "1", "10") == {
        "lake": ["lake_3.png"],
        "lake_2": ["lake_2.png"],
        "1": ["1_1.png"],
        "10": ["10_1.png"],
    }


def test_upper_and_lower_case_do_not_matter(tmp_path):
    write(tmp_path, "LAKE_1.PNG", "Hill/1.png")
    assert found(tmp_path, "Lake", "hill") == {"Lake": ["LAKE_1.PNG"], "hill": ["Hill/1.png"]}


def test_folders_without_images_of_the_photos(tmp_path):
    (tmp_path / "file.txt").write_text("")
    (tmp_path / "lake").mkdir()
    for folder, told in {
        "absent": "no such folder",
        "file.txt": "a file, not folder",
        ".": r"lake\.png, lake_1\.png",
    }.items():
        with pytest.raises(InputError, match=told):
            find_images(tmp_path / folder, ["lake", "hill"])
    write(tmp_path, "meadow.png")
    with pytest.raises(InputError, match="no image of any photo"):
        find_images(tmp_path, ["lake", "hill"])


def test_unreadable_and_tiny_images_are_left_out_with_a_word(tmp_path):
    write(tmp_path, "good.png")
    write(tmp_path, "tiny.png", size=(6, 30))
    (tmp_path / "text.png").write_text("no image")
    files = [tmp_path / f"{name}.png" for name in ("good", "tiny", "text")]
    images, problems = read_images(files, 3, channels=1, least=7)
    assert [tuple(image.shape) for image in images] == [(1, 12, 10)]
    assert len(problems) == 2 and "tiny.png: 6x30" in problems[0] and "text.png" in problems[1]


def test_an_unreadable_image_does_not_count(tmp_path):
    write(tmp_path, "a.png", "c.png", "d.png", "e.png")
    (tmp_path / "b.png").write_text("no image")
    images, problems = read_images([tmp_path / f"{name}.png" for name in "abcde"], 3, channels=1, least=7)
    assert len(images) == 3 and len(problems) == 1
