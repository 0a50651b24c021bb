"""One conversation on plain descriptors, with a limit on every wait."""
