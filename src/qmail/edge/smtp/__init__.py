"""SMTP over real sockets: the resident server, connections out, and who is left alone."""
