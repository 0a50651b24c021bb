"""Questions to the name servers."""
