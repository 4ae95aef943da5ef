"""Measurements: the operator beside its peers, a training step beside the published one, the machine."""
