"""The inner doors: how the programs find each other, and who may call."""
