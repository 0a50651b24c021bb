"""POP3 over real sockets: the resident server and its sessions."""
