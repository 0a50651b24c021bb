"""What small commands share: headers in columns, summaries, options."""
