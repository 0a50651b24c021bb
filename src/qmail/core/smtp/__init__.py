"""What the SMTP server may say to a client: relaying, recipients, guessing."""
