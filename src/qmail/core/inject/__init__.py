"""What the programs that inject make of a message: its header and its envelope."""
