"""The last step on this machine: `.qmail` files, maildirs, mboxes."""
