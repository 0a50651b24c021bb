"""qmail, for the Internet of today: a mail transfer agent as a suite of small programs."""
