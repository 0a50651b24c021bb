"""TLS for both directions, and the server's certificate."""
