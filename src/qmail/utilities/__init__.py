"""Small tools for people: one file each."""
