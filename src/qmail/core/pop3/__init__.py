"""A maildir as a POP3 session sees it."""
