"""qmail check: everything that is wrong with this set-up, one line each, with what to do.

Ends with 0 where nothing is wrong, 1 with findings. It changes nothing.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Final

from qmail.edge.machine.accounts import MissingAccountError, accounts_of, home_folder
from qmail.utilities.check_aliases import check_aliases
from qmail.utilities.check_controls import check_controls
from qmail.utilities.check_domains import check_domains
from qmail.utilities.check_files import check_files, check_programs
from qmail.utilities.check_passwd import check_passwd
from qmail.utilities.check_report import Report
from qmail.utilities.check_running import check_accounts, check_running
from qmail.utilities.check_tls import check_tls
from qmail.utilities.check_users import check_users

FOUND: Final = 1
"""Exit code where something is wrong."""
HELP: Final = """\
Say what is wrong with a home, a line each, with what to do about it. It changes nothing.

It reads every control file as the programs do, and looks at owners and modes, accounts,
programs, ports and, where the suite runs, at who runs as whom. Root sees all of it.
"""


def main(argv: Sequence[str]) -> int:
    """Check the home that `argv` names.

    Returns: 0 where nothing is wrong, 1 with findings.
    """
    parser = argparse.ArgumentParser(
        prog="qmail check",
        description=HELP,
        epilog="exit codes: 0 nothing is wrong (notes do not count); 1 findings; 100 wrong usage",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--home", default=home_folder(), metavar="DIR", help="the home (default: %(default)s)"
    )
    home = os.path.abspath(parser.parse_args(argv).home)
    report = Report()
    check_home(report, home)
    for line in (*report.notes, *report.findings):
        print(line)
    if report.findings:
        print(f"{home}: {len(report.findings)} findings")
        return FOUND
    print(f"{home} is in order: {', '.join(report.good)}")
    return 0


def check_home(report: Report, home: str) -> None:
    """Run every check that makes sense on what is there."""
    try:
        accounts = accounts_of(home)
    except FileNotFoundError:
        report.error(f"{home} has no queue: run 'qmail init --home {home}'")
        return
    except (OSError, MissingAccountError) as trouble:
        report.error(str(trouble))
        return
    check_accounts(report, accounts)
    check_controls(report, home, accounts)
    check_users(report, home, accounts)
    check_passwd(report, home, accounts)
    check_aliases(report, home, accounts)
    check_domains(report, home, accounts)
    check_files(report, home, accounts)
    check_programs(report, home, accounts)
    check_tls(report, home, accounts)
    check_running(report, home, accounts)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
