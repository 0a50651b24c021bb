"""The queue on disk: how messages come in, how they are read, marked and removed."""
