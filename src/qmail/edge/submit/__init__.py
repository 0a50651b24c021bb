"""Ways into the queue and out of it for programs that are not resident."""
