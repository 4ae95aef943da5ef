"""Measurements: the operator beside its peers, the training step beside the published one, and the machine's own limits."""
