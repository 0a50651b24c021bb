"""Processes that are started, forked, asked and watched."""
