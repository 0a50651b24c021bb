"""What commands share: the terminal, the variables of a delivery, a client of maildirserial."""
