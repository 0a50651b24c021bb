"""The files of the queue checked and mended, exported and imported."""
