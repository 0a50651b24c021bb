"""Messages of a maildir handed to a client one after the other (serialmail)."""
