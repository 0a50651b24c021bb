"""Log lines, where they go, and the index of what happened to each message."""
