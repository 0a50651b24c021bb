"""The machine: accounts, the home, limits, addresses, open files."""
