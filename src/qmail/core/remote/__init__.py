"""The way out: which hosts are tried, and what their answers mean."""
