"""Scores of distributions as `hyperconv evaluate` shows them, and what it does with a run of --system reptile."""

from collections.abc import Iterable
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from hyperconv.apps.domain_scores import write_domain_scores
from hyperconv.cli.progress import counted
from hyperconv.metrics.distribution import DistributionScores
from hyperconv.nn.instance_features import InstanceFeatures

UNBOUNDED = 10_000  # columns


def distribution_table(rows: Iterable[tuple[str, DistributionScores]]) -> Table:
    """A line for each name."""
    table = Table(box=box.SIMPLE, header_style="bold", pad_edge=False)
    for column in ("", "Frechet", "precision", "recall", "density", "coverage"):
        table.add_column(column, justify="right" if column else "left")
    for name, scores in rows:
        table.add_row(name, *map("{:.3f}".format, scores))
    return table


def print_table(table: Table) -> None:
    """As wide as the terminal, or, where there is none, as it likes."""
    console = Console()
    if not console.is_terminal:
        console.width = UNBOUNDED
    console.print(table)


def evaluate_reptile(
    run: Path, k: int, count: int | None, features: Path | None, seed: int, device: str, out: Path, force: bool
) -> None:
    """All domains imitated from k images each: scores, and a sheet of the shots beside the imitations."""
    network = None if features is None else InstanceFeatures.from_file(features)
    with counted("imitating") as on_domain:
        evaluation = write_domain_scores(
            run, out, k, count, device=device, seed=seed, features=network, force=force, on_domain=on_domain
        )
    rows = [(domain.name + ("" if domain.seen else ", never seen"), domain.scores) for domain in evaluation.domains]
    means = [("mean", evaluation.mean(True)), ("mean, never seen", evaluation.mean(False))]
    print_table(distribution_table(rows + [(name, scores) for name, scores in means if scores is not None]))
    print(
        f"features: {evaluation.features}; {k} shots of each domain\n"
        f"scores: {out / 'evaluation.json'}\nsheet: {out / 'imitations.png'}"
    )
