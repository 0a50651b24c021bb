"""Who may log in: passwords, their file, and how guessing is slowed."""
