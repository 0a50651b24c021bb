"""Control files, and what each program takes from them."""
