"""make bench: us and Postfix in turn, on this machine, in one run. `--help` lists the options."""

import os
import runpy
import sys

# The folder of the checkout in place of this one, so that the parts have their full names.
sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

if __name__ == "__main__":
    runpy.run_module("bench.command", run_name="__main__")
