"""The outside world: sockets, children, signals, privileges, log lines."""
