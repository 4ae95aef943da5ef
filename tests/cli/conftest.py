"""The command line, called in this process on real photos."""

from dataclasses import dataclass

import pytest

from hyperconv.cli.main import main
from hyperconv.data.examples import load_examples
from hyperconv.data.images import save_png

SMALL = ["--preset", "tiny", "--max-size", "24", "--min-size", "16", "--scale-count", "2", "--device", "cpu"]
QUICK = [*SMALL, "--iterations", "2,1"]


@dataclass
class Answer:
    code: int
    out: str
    error: str

    def complains(self, *words: str) -> bool:
        """Bad input: exit code 2 and one line on stderr with these words, never a traceback."""
        lines = self.error.splitlines()
        return (
            self.code == 2
            and len(lines) == 1
            and lines[0].startswith("hyperconv: ")
            and "Traceback" not in self.out
            and all(word in lines[0] for word in words)
        )


@pytest.fixture
def hyperconv(capsys):
    """hyperconv("sample", run, ...) -> Answer."""

    def call(*arguments) -> Answer:
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main([str(argument) for argument in arguments])
        out, error = capsys.readouterr()
        return Answer(left.value.code, out, error)

    return call


@pytest.fixture(scope="session")
def quick():
    """Options of a training that takes a second."""
    return list(QUICK)


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """A folder with china.png, coffee.png and astronaut.png; flower.png lies beside it."""
    folder = tmp_path_factory.mktemp("photos") / "set"
    for name in ("china", "coffee", "astronaut"):
        save_png(load_examples([name])[0].pixels[:, ::4, ::4], folder / f"{name}.png")
    save_png(load_examples(["flower"])[0].pixels[:, ::4, ::4], folder.parent / "flower.png")
    return folder


@pytest.fixture(scope="session")
def run(photos, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    with pytest.raises(SystemExit) as left:
        main(["train", str(photos), "--out", str(folder), *QUICK])
    assert left.value.code == 0
    return folder
