"""Where an address goes, and who controls it."""
