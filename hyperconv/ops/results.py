"""What committed results say of GPUs, and of processors with AMX: empty until somebody has measured one.

The rule of `auto` on CUDA: until a GPU family has been measured, Triton's kernels where they are trusted on the user's
own device, where Triton does not run those of csrc/ likewise, else the reference. Triton's come first because they
reach the matrix units of a Hopper GPU by its own instructions (wgmma), and csrc/ by those of 8.0 (mma.sync); no figure
says yet where csrc/ is the faster one. Where a family has been measured, its tests
passed there, so nothing is checked again, and `FASTEST` decides call by call.
"""

RESULTS: dict[str, str] = {}
"""The committed result of a GPU family: {capability: file in benchmarks/results}, like {"9.0": "h200.json"}."""

FASTEST: dict[tuple[str, str, str, str], str] = {}
"""{(capability, arithmetic, operation, class): backend} where it is not Triton's kernels that are fastest."""

FASTEST_ON_AMX: dict[tuple[str, str], str] = {}
"""{(operation, class): backend} of bfloat16 calls on a processor with AMX, as `benchmarks.low_precision` prints them."""
