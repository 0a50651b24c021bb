"""docs/benchmarks.md: the figures, what they were taken on, and how. Pure."""

from typing import Final

from bench.machine import Machine
from bench.report import Report, markdown, tables

HOW: Final = """\
## How each figure is taken

- **In turn.** In each round our suite is measured and then Postfix, with the same load, on the same
  file system. A rate is the median of the rounds. A ratio is taken in each round, and the median of
  the ratios is quoted; "of rounds" gives the least and the greatest. Every variant starts with a
  warm-up that is not counted. N, the number of messages, is chosen from the last rate, so that one
  measurement takes a few seconds; it may differ between the two, and a rate is N by time.
- **Nothing is removed between measurements**: ext4 searches long for a free inode where many were
  freed in the last minute, and would make the next measurement pay. What the servers free by their
  own work does count. The folders of both servers and of the mailbox are spread over the disk.
- **Load.** `smtp-source -s 20 -m N -l SIZE`, with `-d` where connections are kept. Its default is a
  connection for each message.
- **local**: from the start of smtp-source until the last of N messages is in `new/` of one
  recipient's maildir. The recipient is an account made for the run, the same for both.
- **relay**: from the start of smtp-source until smtp-sink has taken the last of N messages, by its
  running counter (`smtp-sink -c`).
- **1,000 users**: accounts with 1,000 uids and homes, in a list of accounts that only the two
  servers of this part see (a mount namespace of their own, where `/etc/passwd` has them besides).
  Postfix delivers by local(8), ours by `.qmail` and default delivery, to the same maildirs. "in
  turn": `smtp-source -N`, nobody gets a second message before everybody had one; "one of": all to
  one of them, right before, in the same servers. The share is taken in each round.
- **list**: one message to an address that stands for 10,000: ten (`user-0` to `user-9`) of each of
  the 1,000 users, neighbours always different; ours by a `.qmail-list`, Postfix's by `:include:` in
  its aliases. From the start of smtp-source until the last of the 10,000 files is in `new/`. All
  figures are for each delivery.
- **accept**: from the start of smtp-source until its last message is answered 250, with nothing
  delivered meanwhile. Ours: `concurrencylocal` 0. Postfix: whichever of three ways is fastest for
  it here, tried first (the note names it). Each measurement starts with an empty queue.
- **2,000 hosts**: one message to one recipient at each, by sendmail; from its start to the last
  delivery before any retry (the count of deliveries stands beside). All runs in a network namespace
  with nothing but a loopback interface: a name server of the benchmark's own that answers about
  these hosts after 50 to 1,000 ms (drawn for each question) and loses 2 of 100 questions, smtp-sink
  on port 25 of all addresses, and one of the two servers. The nth asking of a question meets the
  same delay with both. Ours has what `qmail init` writes, Postfix its defaults.
- **deferred**: 100,000 messages as qmail-send leaves them after a first try, to 1,000 domains, due
  after an hour; 100 of them are due at once, and the first delivery is the first of those.
  Memory and CPU (over 10 seconds) are taken when the suite is quiet, the two commands as the median
  of 3. The rate of new mail is that of "local, 4 KB, kept"; each round measures it in this suite
  and in one with an empty queue.
- **50,000 recipients**: one message, by qmail-queue, to as many addresses of one account that
  deliver to one maildir, in memory (tmpfs). Memory: the most that the suite had (looked at each 0.3
  s) until all was delivered, less what it had before, after a message to 5,000. The small message
  is sent when qmail-queue has ended; from the start of its sendmail until it is in the maildir.
- **POP3**: 8 mailboxes of one account with 1,000 messages of 4 KB each, which both servers serve
  from the same maildirs, with the same list of names (SCRAM-SHA-256 keys of 4,096 rounds, one
  check for each login). One client for each mailbox, all at once, each session on a connection of
  its own and every command after the answer to the one before: USER, PASS, STAT, LIST, UIDL, RETR
  of the ten newest, QUIT. The first three visits are not counted. Dovecot is Debian's with its
  defaults, without TLS; only root can start it.
- **CPU ms**: user and system time of all processes of the server, ended ones included, from
  `/proc/PID/stat`, until the server is idle again; "CPU ratio" is Postfix's by ours. smtp-source
  and smtp-sink apart ("load ms"). "other CPU" is what else ran on the machine, in cores: the
  kernel's own threads, the benchmark, and whatever disturbed it.
- **flushes**: flush requests that the disk under the queues completed (`/proc/diskstats`), by the
  number of messages. Other writers to the same disk are counted with them.
- **Memory**: sum of the proportional set sizes (`/proc/PID/smaps_rollup`) of all processes of the
  suite. What the kernel keeps for sockets is not in it. Idle: two seconds after the start, before
  any mail. Idle connections have each read their greeting.
- **sendmail**: median time of 20 runs of `sendmail -t` on one small message, ours and Postfix's in
  turn. Cold means a new process each; the files are in the page cache.
- **1,000 injections**: ten shells at once, each of which runs `sendmail -t -i` on a message of 4 KB
  a hundred times, one after the other. The rate is by the time until the last of them has ended,
  that is, all is in the queue; "delivered" by the time until the last message is in the maildir.
- **Postfix** is Debian's package with its defaults, in a configuration directory and queue of its
  own on a port of its own, logging to a file; without chroot, without TLS. Ours is a home made by
  `qmail init`, started by `qmail-start ./Maildir/`, logging to a file.
"""


def document(report: Report, *, date: str, options: str) -> str:
    """Write docs/benchmarks.md."""
    parts = [
        "# Benchmarks",
        "Written by `make bench`; the next run replaces it.",
        about(report.machine, date, options),
    ]
    for title, table in tables(report):
        parts += [f"## {title}", markdown(table)]
    if report.notes:
        parts += ["## Notes", "\n".join(f"- {note}" for note in report.notes)]
    return "\n\n".join([*parts, HOW])


def about(machine: Machine, date: str, options: str) -> str:
    """Say when, on what and how."""
    command = f"bench/main.py {options}".strip()
    return "\n".join((
        f"- {date}, `.venv/bin/python {command}`",
        f"- {machine.cores} cores ({machine.cpu}), {machine.memory_gb:.0f} GB, {machine.kernel}",
        f"- queues on {machine.file_system}",
        f"- Python {machine.python}, Postfix {machine.postfix}",
    ))  # fmt: skip
