"""What qmail-send decides: what is tried when, and what follows."""
