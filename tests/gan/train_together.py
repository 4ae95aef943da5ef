"""One process of several that torchrun starts: trains a run that is there already, then writes what it holds.

    torchrun ... train_together.py RUN [DIES_AT]

RUN/rank_R.safetensors: the system of rank R at the end; RUN/moved_R.json: how many numbers its optimizers moved, and of
how many. DIES_AT: the step before which the last rank kills itself, on the
first start.
"""

import json
import os
import signal
import sys
from pathlib import Path

from safetensors.torch import save_file

from hyperconv.gan.ranks import joined, was_restarted
from hyperconv.gan.run import Run
from hyperconv.gan.trainer import Trainer


def main(folder, dies_at=0):
    run = Run.open(folder)
    with joined() as ranks:
        trainer = Trainer(run, run.collection(), checkpoint_every=4, ranks=ranks)
        for taken in trainer.train():
            if taken.step == int(dies_at) and ranks.rank == ranks.count - 1 and not was_restarted():
                os.kill(os.getpid(), signal.SIGKILL)
        state = {name: value.contiguous() for name, value in trainer.system.state_dict().items()}
        counts = [
            [sum(p.numel() for p in some) for some in (player.moved.values(), player.parameters)]
            for player in trainer.players
        ]
        (Path(folder) / f"moved_{ranks.rank}.json").write_text(json.dumps(counts))
        save_file({**state, "amplitudes": trainer.amplitudes}, Path(folder) / f"rank_{ranks.rank}.safetensors")


if __name__ == "__main__":
    main(*sys.argv[1:])
