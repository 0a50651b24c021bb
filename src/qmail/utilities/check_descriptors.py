"""The part of `qmail check` that compares what control/ asks for with the limit of open files."""

import resource
from collections.abc import Mapping
from typing import Final

from qmail.core.settings.controls import ControlError, control_reader, load
from qmail.core.settings.programs import SendControls
from qmail.edge.machine.descriptors import WANTED, local_slots, remote_slots, room
from qmail.edge.machine.processes import Process, descriptor_limit_of
from qmail.edge.smtp.server import SESSIONS_MAX
from qmail.utilities.check_report import Report

CURE: Final = "raise it where qmail-start is started (ulimit -Hn, LimitNOFILE= of systemd)"


def check_descriptors(report: Report, home: str, running: Mapping[str, Process]) -> None:
    """Say what is cut down; `running` has the resident programs by name.

    Where one does not run, it would get the limit that we have.
    """
    try:
        controls = load(SendControls, control_reader(home))
    except (ControlError, OSError):
        # The check of the control files has words for this.
        return
    asked = (
        ("concurrencyremote", controls.concurrencyremote, "qmail-rspawn", remote_slots),
        ("concurrencylocal", controls.concurrencylocal, "qmail-lspawn", local_slots),
    )
    for name, wanted, program, slots in asked:
        limit = _limit(running.get(program))
        if slots(limit) < wanted:
            report.warning(
                f"control/{name} is {wanted}, and the limit of open files, {limit}, leaves"
                f" {program} room for {slots(limit)} deliveries at once: {CURE}, or ask for less"
            )
    limit = _limit(running.get("qmail-smtpd"))
    if room(limit) < SESSIONS_MAX:
        report.note(
            f"the limit of open files, {limit}, leaves qmail-smtpd room for {room(limit)} clients"
            f" at once instead of {SESSIONS_MAX}: {CURE}"
        )


def _limit(process: Process | None) -> int:
    found = None if process is None else descriptor_limit_of(process.pid)
    if found is None:
        _, found = resource.getrlimit(resource.RLIMIT_NOFILE)
    return WANTED if found == resource.RLIM_INFINITY else min(found, WANTED)
