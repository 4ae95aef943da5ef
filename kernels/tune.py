"""The search behind `hyperconv tune`: the quickest tiles for a class of layers on this GPU.

A class is measured on one of its layers, by all operators that share its tiles. The search walks downhill: from the
tiles used now it tries all neighbours (one size doubled or halved, one more stage, weights packed, images copied to
the other memory format), moves to the quickest, and ends where none is quicker. A candidate is checked against float64
before it is timed; one that does not compile, does not fit or is wrong is reported and left behind.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from statistics import median

import torch

from hyperconv.kernels import measured, operations
from hyperconv.kernels.arithmetic import ARITHMETICS, products_in
from hyperconv.kernels.capture import captured
from hyperconv.kernels.checked_calls import CheckedCall, calls_of, fault_in, fault_of
from hyperconv.kernels.configurations import Layer, Tiles, classify, exchanged, measured_here, power_of_two, unmeasured
from hyperconv.kernels.launch import capability

MARGIN = 1.01
"""How much quicker a candidate must be to count as quicker: less is noise."""
ROUNDS = 7

Check = Callable[["Case", list[Tiles], float], dict[Tiles, str | None]]
Clock = Callable[["Case", Tiles], Callable[[], float]]


@dataclass(frozen=True)
class Case:
    """A class of layers, and the layer that stands for it: `channels` read for each product, `outputs` made.

    Of an accumulation the outputs are the rows of its result: the weight gradient's output channels, or its input
    channels where those are summed the other way round.
    """

    kernel: str
    channels: int
    outputs: int
    side: int
    arithmetic: str
    layout: str = "nchw"
    batch: int = 16
    device: str = "cuda"

    @property
    def layer(self) -> Layer:
        nhwc = self.layout == "nhwc"
        return classify(self.kernel, self.arithmetic, self.channels, self.outputs, 9, self.side**2, nhwc)

    @property
    def name(self) -> str:
        return f"{self.arithmetic} {self.layer}"

    @property
    def dtype(self) -> torch.dtype:
        return ARITHMETICS[self.arithmetic]

    @property
    def pairs(self) -> int:
        """Channels, or pairs (channel, tap), that a tile can be filled with."""
        flat = self.layer.kind == "flat" or (self.kernel, self.layer.kind) == ("accumulate", "thin")
        return self.channels * 9 if flat else self.channels

    def default(self) -> Tiles:
        return unmeasured(capability(torch.device(self.device)), self.arithmetic, self.layer, self.pairs)

    def title(self) -> str:
        """What its measurements hold for."""
        device = torch.device(self.device)
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else "Triton's interpreter"
        return measured.title(name, capability(device))


def cases_of(
    layers: Iterable[tuple[int, int]],
    sides: Iterable[int],
    arithmetics: Iterable[str],
    layouts: Iterable[str] = ("nchw",),
    batch: int = 16,
    device: str = "cuda",
) -> list[Case]:
    """Every class that a training step of 3x3 layers (channels in, out) uses, forward and backward, once each."""
    found: dict[str, Case] = {}
    for arithmetic in arithmetics:
        for layout in layouts:
            for side in sides:
                for channels, outputs in layers:
                    sums = (outputs, channels) if exchanged(channels, outputs) else (channels, outputs)
                    for kernel, pair in (
                        ("correlate", (channels, outputs)),
                        ("correlate", (outputs, channels)),
                        ("accumulate", sums),
                    ):
                        case = Case(kernel, *pair, side, arithmetic, layout, batch, device)
                        found.setdefault(case.name, case)
    return list(found.values())


def axes(layer: Layer) -> dict[str, tuple]:
    """The values each size may take for a class, in order."""
    thin = layer.kind == "thin"
    wide = (16, 32, 64, 128)
    sums = layer.kernel == "accumulate"
    return {
        "pixels": (16, 32, 64, 128) if sums else (32, 64, 128, 256, 512) if thin else (32, 64, 128, 256),
        "pairs": wide if not thin else (16, 32, 64) if sums else (1, 2, 4, 8, 16),
        "outputs": (layer.outputs,) if thin else wide if sums else (8, *wide),
        "warps": (1, 2, 4, 8) if thin else (4, 8),
        "stages": (2, 3) if thin else (2, 3, 4, 5),
        "pack": (False,) if sums else (False, True),
        "relaid": (False, True) if layer.kind == "wide" else (False,),
    }


def fits(case: Case, tiles: Tiles, shared_memory: int) -> bool:
    """Whether tiles are worth compiling: not mostly padding, and within registers and shared memory as estimated."""
    layer, threads = case.layer, 32 * tiles.warps
    least = 16 if layer.kernel == "accumulate" or layer.kind != "thin" else 4
    several_taps = 9 if (layer.kernel, layer.kind) == ("accumulate", "wide") else 1
    if tiles.pairs > power_of_two(case.pairs * several_taps, least, 128):
        return False
    if layer.kind == "thin":
        work = tiles.pixels * tiles.outputs * (tiles.pairs if layer.kernel == "accumulate" else 1)
        return threads <= work <= 128 * threads
    if tiles.outputs > power_of_two(case.outputs, 16, 128):
        return False
    sums = layer.kernel == "accumulate"
    accumulators = tiles.outputs * (tiles.pairs if sums else tiles.pixels)
    loaded = tiles.pixels * (tiles.outputs + tiles.pairs) if sums else tiles.pairs * (tiles.pixels + tiles.outputs)
    staged = tiles.stages * loaded * case.dtype.itemsize
    return 4 * threads <= accumulators <= 128 * threads and loaded <= 128 * threads and staged <= shared_memory


def neighbours(case: Case, tiles: Tiles, shared_memory: int) -> list[Tiles]:
    """All tiles one step away that are worth compiling."""
    found = []
    for name, values in axes(case.layer).items():
        now = getattr(tiles, name)
        lower, higher = [v for v in values if v < now], [v for v in values if v > now]
        found += [replace(tiles, **{name: value}) for value in (*lower[-1:], *higher[:1])]
    return [tiles for tiles in found if fits(case, tiles, shared_memory)]


def shared_memory(device: torch.device) -> int:
    """Bytes that one program may have."""
    if device.type != "cuda":
        return 227 << 10
    properties = torch.cuda.get_device_properties(device)
    return getattr(properties, "shared_memory_per_block_optin", 99 << 10)


@contextmanager
def trying(case: Case, tiles: Tiles | None) -> Iterator[None]:
    """The operators use these tiles for the class inside; None: those it has without measurements."""
    table, key = measured_here(capability(torch.device(case.device))), (case.arithmetic, str(case.layer))
    before = table.pop(key, None)
    if tiles is not None:
        table[key] = tiles
    operations.forget_plans()
    try:
        with products_in(case.arithmetic):
            yield
    finally:
        table.pop(key, None)
        if before is not None:
            table[key] = before
        operations.forget_plans()


@lru_cache(maxsize=1)
def problems(case: Case, sets: int) -> list[list[CheckedCall]]:
    """So many sets of the case's calls, each on tensors of its own."""
    return [calls_of(case, seed) for seed in range(sets)]


def fault(case: Case, tiles: Tiles) -> str | None:
    """What is wrong with these tiles: an error, or a result off the float64 one; None where they are right."""
    try:
        with trying(case, tiles):
            return next((wrong for call in problems(case, 1)[0] if (wrong := fault_in(case, call))), None)
    except Exception as error:  # noqa: BLE001 - whatever a compiler raises concerns this candidate only
        return fault_of(error)


def one_by_one(case: Case, candidates: list[Tiles], seconds: float) -> dict[Tiles, str | None]:
    """Check candidates in this process; those left when the time is over have no verdict."""
    end, verdicts = time.monotonic() + seconds, {}
    for tiles in candidates:
        if time.monotonic() < end:
            verdicts[tiles] = fault(case, tiles)
    return verdicts


def graph_clock(case: Case, tiles: Tiles) -> Callable[[], float]:
    """A stop-watch for these tiles: seconds of one round of the case's timed calls, replayed from a CUDA graph.

    The calls go round among sets of tensors that together do not fit in the second-level cache.
    """
    moved = case.batch * case.side**2 * (case.channels + case.outputs) * case.dtype.itemsize
    cache = torch.cuda.get_device_properties(case.device).L2_cache_size
    sets = problems(case, min(8, 2 + 2 * cache // moved))

    def one_round() -> None:
        for each in sets:
            for call in each:
                if call.timed:
                    call.run()

    with trying(case, tiles):
        graph, _ = captured(one_round)
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))

    def replays(count: int) -> float:
        begin.record()
        for _ in range(count):
            graph.replay()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) / 1e3 / count

    replays(2)
    count = max(1, min(50, round(2e-3 / replays(2))))
    return lambda: replays(count) / len(sets)


def race(case: Case, base: Tiles, candidate: Tiles, clock: Clock) -> tuple[float, float]:
    """Median seconds of both, timed in turn."""
    watches = [clock(case, base), clock(case, candidate)]
    samples = [[watch() for watch in watches] for _ in range(ROUNDS)]
    first, second = (median(column) for column in zip(*samples, strict=True))
    return first, second


@dataclass
class Finding:
    """What is known of one class: how much quicker than `base` each candidate is, or what is wrong with it."""

    case: Case
    default: Tiles
    base: Tiles | None = None
    seconds: float | None = None
    tried: dict[Tiles, float | str] = field(default_factory=dict)
    finished: bool = False

    @property
    def right(self) -> dict[Tiles, float]:
        return {tiles: gain for tiles, gain in self.tried.items() if not isinstance(gain, str)}

    @property
    def faults(self) -> dict[Tiles, str]:
        return {tiles: wrong for tiles, wrong in self.tried.items() if isinstance(wrong, str)}

    @property
    def best(self) -> Tiles | None:
        """The quickest; the base unless another is quicker by more than noise."""
        quickest = max(self.right, key=self.right.__getitem__, default=None)
        return quickest if quickest is None or self.right[quickest] > MARGIN else self.base

    def record(self) -> dict:
        tried = [{"tiles": asdict(tiles), "gain": gain} for tiles, gain in self.tried.items()]
        return {
            "tiles": asdict(self.best) if self.best else None,
            "default": asdict(self.default),
            "base": asdict(self.base) if self.base else None,
            "seconds": self.seconds,
            "finished": self.finished,
            "tried": tried,
        }


def begin(case: Case) -> Finding:
    """What was found before, where it was measured beside the same default; else nothing yet."""
    default = case.default()
    record = measured.read().get(case.title(), {}).get(case.name, {})
    try:
        if record and record["default"] == asdict(default):
            base = Tiles(**record["base"]) if record["base"] else None
            tried = {Tiles(**entry["tiles"]): entry["gain"] for entry in record["tried"]}
            return Finding(case, default, base, record["seconds"], tried, record["finished"])
    except (KeyError, TypeError):
        pass  # a record of another form: measured anew
    return Finding(case, default)


def search(finding: Finding, seconds: float, check: Check, clock: Clock) -> Iterator[Finding]:
    """Walk downhill for so many seconds; yields what is known after every round."""
    case, end = finding.case, time.monotonic() + seconds
    limit = shared_memory(torch.device(case.device))
    while not finding.finished and time.monotonic() < end:
        start = finding.best or finding.default
        fresh = [tiles for tiles in (start, *neighbours(case, start, limit)) if tiles not in finding.tried]
        if not fresh:
            finding.finished = True
        for tiles, wrong in check(case, fresh, end - time.monotonic()).items() if fresh else ():
            if wrong is None and time.monotonic() > end:
                break
            finding.tried[tiles] = wrong or timed(finding, tiles, clock)
        yield finding


def timed(finding: Finding, tiles: Tiles, clock: Clock) -> float | str:
    """How many times as quick as the base these right tiles are; the first that are right become the base."""
    if finding.base is None:
        finding.base = tiles
    try:
        base, own = race(finding.case, finding.base, tiles, clock)
    except Exception as error:  # noqa: BLE001 - as in `fault`
        if tiles == finding.base:
            finding.base = None
        return fault_of(error)
    finding.seconds = base
    return 1.0 if tiles == finding.base else base / own


def tune(
    cases: list[Case], seconds: float, check: Check, clock: Clock = graph_clock, again: bool = False
) -> Iterator[Finding]:
    """Measure the cases one after another, each with an even share of the time that is left.

    Yields what is known of a case whenever that grows, and keeps it in the user's cache. What a run before this one
    has measured is not measured again, unless asked for.
    """
    end = time.monotonic() + seconds
    for index, case in enumerate(cases):
        finding = Finding(case, case.default()) if again else begin(case)
        share = (end - time.monotonic()) / (len(cases) - index)
        if finding.finished or share <= 0:
            yield finding
        for known in search(finding, share, check, clock):
            measured.keep(case.title(), case.name, known.record())
            yield known
    measured.best.cache_clear()
    measured_here.cache_clear()
    operations.forget_plans()
