"""Runs another program in place of the SMTP client: QMAILREMOTE (spec/delivery.md 10)."""

import asyncio
import contextlib
from typing import Final

from qmail.mail import deferred, failed
from qmail.protocol.remote_reports import combine

OUTPUT_BYTES_MAX: Final = 65536
RUN_S_MAX: Final = 3600.0
PROGRAMS_AT_ONCE: Final = 120
"""As many processes as the original had (its spawn limit)."""
EXIT_TEMPORARY: Final = 111


class RemoteProgram:
    """Starts the program for each job: argv HOST SENDER RECIPIENT, the message on descriptor 0."""

    def __init__(self, program: str) -> None:
        self._program = program
        self._turnstile = asyncio.Semaphore(PROGRAMS_AT_ONCE)

    async def run(self, host: bytes, sender: bytes, recipient: bytes, message_fd: int) -> bytes:
        """Run it once; return the report for qmail-send. `message_fd` stays the caller's."""
        async with self._turnstile:
            try:
                process = await asyncio.create_subprocess_exec(
                    self._program,
                    host,
                    sender,
                    recipient,
                    stdin=message_fd,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.STDOUT,
                )
            except OSError:
                return deferred(b"Unable to run qmail-remote. (#4.3.0)\n").pack()
            try:
                async with asyncio.timeout(RUN_S_MAX):
                    output = await _read_all(process)
                    code = await process.wait()
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
                return deferred(b"qmail-remote took too long. (#4.3.0)\n").pack()
        return report_of(code, output)


async def _read_all(process: asyncio.subprocess.Process) -> bytes:
    """Read to the end; what goes beyond the limit is read and dropped."""
    assert process.stdout is not None
    kept = b""
    while part := await process.stdout.read(OUTPUT_BYTES_MAX):
        kept += part[: OUTPUT_BYTES_MAX - len(kept)]
    return kept


def report_of(code: int, output: bytes) -> bytes:
    """Make one report of a qmail-remote's exit code (negative: its signal) and its output."""
    if code < 0:
        return deferred(b"qmail-remote crashed. (#4.3.0)\n").pack()
    if code == EXIT_TEMPORARY:
        return deferred(b"qmail-remote ended with a temporary error. (#4.3.0)\n").pack()
    if code:
        return failed(b"qmail-remote ended with a permanent error. (#5.3.0)\n").pack()
    return combine(output)
