"""The rules and the disk: takes Fs, Clock and Random as arguments."""
