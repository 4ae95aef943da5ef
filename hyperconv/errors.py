"""Errors a user can mend; the command line prints them as one line and exits with code 2."""


class InputError(ValueError):
    """Something the user gave (a file, a run, a name, a number) cannot be used; the message says what to do."""


class TrainingDiverged(RuntimeError):
    """A loss or a parameter is no longer finite, or a loss too large to come back; the last good checkpoint is kept."""


class RankLost(RuntimeError):
    """Another process of the same training is gone; the last checkpoint is kept."""
