from dataclasses import replace

from benchmarks.ablation import ARMS, SEEN, UNSEEN, report
from benchmarks.training import SCORES
from hyperconv.data.images import read_photo
from hyperconv.gan.presets import preset


def test_every_arm_changes_something_of_the_preset_that_can_be_changed():
    tiny = preset("tiny")
    for name, changes in ARMS.items():
        assert (replace(tiny, **changes) == tiny) == (name == "preset")


def test_the_report_names_every_arm_and_its_changes(tmp_path):
    arms = {
        name: {
            SEEN: dict.fromkeys(SCORES, 0.1 + place),
            UNSEEN: dict.fromkeys(SCORES, 0.25),
            "seconds": 9.0,
            "changes": ARMS[name],
        }
        for place, name in enumerate(("preset", "average"))
    }
    page = report(tmp_path, "about", arms)
    assert "| average | 1.1000 | 0.2500 |" in page and "- average: average 0.99" in page
    height, width = read_photo(tmp_path / "ablation.png").pixels.shape[1:]
    assert width > height > 100
