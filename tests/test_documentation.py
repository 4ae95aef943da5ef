"""What the README files say can be done: links lead somewhere, commands parse, Python runs."""

import re
import shlex
from pathlib import Path

import pytest
import torch
import typer

from hyperconv.apps.train import train
from hyperconv.cli.main import app
from hyperconv.data.examples import load_examples

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / folder / "README.md" for folder in (".", "benchmarks", "csrc", "kernels", "hyperconv/gan")]
README = PAGES[0].read_text()
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
VERBS = typer.main.get_command(app).commands


def commands(text: str) -> list[str]:
    """The command lines of hyperconv in a text, without the comments or explanations beside them."""
    lines = re.findall(r"^ *(?:torchrun .*-m )?hyperconv ([a-z]+\b.*)$", text, re.MULTILINE)
    return [re.split(r"  +|\s#", line.strip())[0] for line in lines]


EXAMPLES = sorted({line for text in (README, *(verb.help or "" for verb in VERBS.values())) for line in commands(text)})


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.parent.relative_to(ROOT)))
def test_every_link_leads_somewhere(page):
    for link in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        if link.startswith("http"):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.parent.relative_to(ROOT)))
def test_every_benchmark_that_is_named_exists(page):
    for name in re.findall(r"benchmarks\.(\w+)(?!\w*/)", page.read_text()):
        assert (ROOT / "benchmarks" / f"{name}.py").exists() or name == "NAME", name


@pytest.mark.parametrize("line", EXAMPLES)
def test_every_command_that_is_shown_parses(line):
    name, *arguments = shlex.split(line)
    try:
        VERBS[name].make_context(name, arguments)
    except typer.BadParameter as error:  # the files that it names are not here
        assert "does not exist" in str(error), error


def test_there_are_commands_of_every_verb():
    assert {line.split()[0] for line in EXAMPLES} == set(VERBS)


def test_what_needs_no_run_runs():
    torch.manual_seed(0)
    for block in PYTHON[:2]:
        exec(block, {})


def test_the_applications_run_on_a_run(tmp_path, monkeypatch):
    small = {"max_size": 32, "min_size": 16, "scale_count": 2, "hidden": 8, "features": 8, "embedding_size": 32}
    train(load_examples(["china", "coffee"]), tmp_path / "run", device="cpu", iterations=(2,), **small)
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(PYTHON[2], names)
    assert names["images"][0].shape[0] == 3
    assert len(names["frames"]) == 12


def test_there_is_no_other_python():
    assert len(PYTHON) == 3
