"""`qmail explain`: the rules' own decisions, put into words."""
