"""`python -m hyperconv`, and `torchrun ... -m hyperconv`, as the command `hyperconv`."""

from hyperconv.cli.main import main

main()
