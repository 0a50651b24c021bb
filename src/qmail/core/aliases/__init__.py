"""Forwarding tables, alias files, lists and `.forward` files."""
