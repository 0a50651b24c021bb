"""The mail clients that record_clients.py runs, and how each of them is made to send."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

UID: Final = 54321


@dataclass(frozen=True, kw_only=True)
class Client:
    """One occasion on which a client sends."""

    name: str
    package: str
    command: tuple[str, ...]
    stdin: str = ""
    environ: Mapping[str, str] = field(default_factory=dict)
    is_root: bool = False
    files: Mapping[str, str] = field(default_factory=dict)
    """What has to be there: path from the folder, text."""
    setup: tuple[tuple[str, ...], ...] = ()
    """Run before, as root."""
    is_daemon: bool = False
    """It is stopped when sendmail was called."""


def perl(name: str, package: str, text: str) -> Client:
    """Return a client that is a Perl script."""
    return Client(name=name, package=package, command=("perl", "-e", text))


def php(name: str, text: str, *options: str) -> Client:
    """Return a client that is a PHP script, with PHP's own settings."""
    return Client(name=name, package="php8.2-cli", command=("php", *options, "-r", text))


def python(name: str, text: str) -> Client:
    """Return a client that is a Python script."""
    return Client(name=name, package="python3", command=("python3", "-c", text))


PATCH: Final = """\
From 0123456789012345678901234567890123456789 Mon Sep 17 00:00:00 2001
From: Joe Doe <joe@example.org>
Date: Wed, 25 Nov 2026 12:00:00 +0000
Subject: [PATCH] pots: mend the lid

It rattled.
---
 lid | 2 +-
 1 file changed, 1 insertion(+), 1 deletion(-)

diff --git a/lid b/lid
--- a/lid
+++ b/lid
@@ -1 +1 @@
-loose
+tight
--
2.39.5
"""
MUTTRC: Final = "set folder=/FOLDER/joe\nset record=''\nset copy=no\n"
DSN: Final = (
    "set use_envelope_from=yes use_8bitmime=yes dsn_notify=failure,delay dsn_return=hdrs"
    " from='Joe <joe@example.com>'"
)
GIT: Final = (
    "git", "-c", "user.name=Joe Doe", "-c", "user.email=joe@example.org", "send-email",
    "--confirm=never", "--quiet", "--to=List <list@example.net>", "--cc=ann@example.com",
)  # fmt: skip
CRON: Final = "SHELL=/bin/sh\n{}* * * * * printf 'line one\\nline two \\303\\274\\n'\n"
CRONTAB: Final = "spool/crontabs/joe"
SYSTEMD: Final = """\
#!/bin/sh
/usr/sbin/sendmail -t <<ERRMAIL
To: $1
From: systemd <root@$(hostname)>
Subject: $2
Content-Transfer-Encoding: 8bit
Content-Type: text/plain; charset=UTF-8

● $2 - failed
ERRMAIL
"""
CLIENTS: Final = (
    php("php-mail", "exit(mail('ann@example.org', 'Grüße', \"one\\ntwo\\n\") ? 0 : 1);"),
    php(
        "php-mail-headers",
        "exit(mail('Ann <ann@example.org>, bob@example.net', 'hello', \"one\\r\\n.\\r\\ntwo\","
        " ['From' => 'shop@example.com', 'Bcc' => 'eve@example.com', 'X-Mailer' => 'shop'],"
        " '-fbounce@example.com') ? 0 : 1);",
    ),
    php(
        "php-mail-path",
        "exit(mail('ann@example.org', 'hello', 'one', \"From: shop@example.com\") ? 0 : 1);",
        "-d",
        "sendmail_path=/usr/sbin/sendmail -t -i -f shop@example.com -F 'The Shop'",
    ),
    Client(
        name="git-send-email",
        package="git-email",
        command=(*GIT, "--sendmail-cmd=/usr/sbin/sendmail", "/FOLDER/joe/1.patch"),
        files={"joe/1.patch": PATCH},
    ),
    Client(
        name="git-send-email-envelope",
        package="git-email",
        command=(*GIT, "--envelope-sender=bounce@example.org", "/FOLDER/joe/1.patch"),
        files={"joe/1.patch": PATCH},
    ),
    Client(
        name="mutt",
        package="mutt",
        command=(
            "mutt",
            "-s",
            "grüße",
            "-c",
            "bob@example.net",
            "-b",
            "eve@example.com",
            "-a",
            "/FOLDER/joe/note",
            "--",
            "Ann <ann@example.org>",
        ),
        stdin="hello\n.\nbye\n",
        files={"joe/.muttrc": MUTTRC, "joe/note": "a note\n"},
    ),
    Client(
        name="mutt-envelope-from",
        package="mutt",
        command=(
            "mutt",
            "-e",
            DSN,
            "-s",
            "hi",
            "ann@example.org",
        ),
        stdin="grüße\n",
        files={"joe/.muttrc": MUTTRC},
    ),
    Client(
        name="neomutt",
        package="neomutt",
        command=("neomutt", "-s", "hi", "ann@example.org", "bob"),
        stdin="hello\n",
        files={"joe/.neomuttrc": MUTTRC},
    ),
    Client(
        name="s-nail",
        package="s-nail",
        command=(
            "s-nail",
            "-s",
            "hi",
            "-c",
            "bob@example.net",
            "-r",
            "joe@example.com",
            "ann@example.org",
        ),
        stdin="hello\n",
    ),
    Client(
        name="bsd-mailx",
        package="bsd-mailx",
        command=("bsd-mailx", "-s", "hi", "-b", "eve@example.com", "ann@example.org", "bob"),
        stdin="hello\n",
    ),
    Client(
        name="bsd-mailx-sender",
        package="bsd-mailx",
        command=("bsd-mailx", "-v", "-s", "hi", "-r", "joe@example.com", "ann@example.org"),
        stdin="hello\n",
    ),
    Client(
        name="mailutils-mail",
        package="mailutils",
        command=("mail.mailutils", "-s", "hi", "-r", "joe@example.com", "ann@example.org"),
        stdin="hello\n",
    ),
    Client(
        name="nmh",
        package="nmh",
        command=("/usr/lib/mh/post", "-mts", "sendmail/smtp", "/FOLDER/joe/draft"),
        files={
            "joe/.mh_profile": "Path: mail\n",
            "joe/mail/context": "",
            "joe/draft": "From: joe@host.example\nTo: ann@example.org\nBcc: eve@example.com\n"
            "Subject: hi\n\nhello\n.\nbye\n",
        },
    ),
    Client(
        name="nmh-pipe",
        package="nmh",
        command=("/usr/lib/mh/post", "-mts", "sendmail/pipe", "/FOLDER/joe/draft"),
        files={
            "joe/.mh_profile": "Path: mail\n",
            "joe/mail/context": "",
            "joe/draft": "From: joe@host.example\nTo: ann@example.org\nBcc: eve@example.com\n"
            "Subject: hi\n\nhello\n",
        },
    ),
    Client(
        name="cron",
        package="cron",
        command=("cron", "-f"),
        is_root=True,
        is_daemon=True,
        files={CRONTAB: CRON.format("")},
    ),
    Client(
        name="cron-mailto",
        package="cron",
        command=("cron", "-f"),
        is_root=True,
        is_daemon=True,
        files={CRONTAB: CRON.format("MAILTO=ann@example.org,bob\nMAILFROM=cron@example.org\n")},
    ),
    Client(
        name="at",
        package="at",
        command=("atd", "-f", "-b", "1", "-l", "99"),
        is_root=True,
        is_daemon=True,
        setup=(("su", "-s", "/bin/sh", "joe", "-c", "echo 'echo done' | at now"),),
    ),
    Client(
        name="anacron",
        package="anacron",
        command=("anacron", "-d", "-f", "-n", "-S", "/FOLDER/spool", "-t", "/FOLDER/joe/tab"),
        is_root=True,
        files={"joe/tab": "MAILTO=ann@example.org\n1 0 daily echo tidied\n"},
    ),
    Client(
        name="sudo",
        package="sudo",
        command=("sudo", "-n", "id"),
        is_root=True,
    ),
    Client(
        name="logwatch",
        package="logwatch",
        command=(
            "logwatch",
            "--output",
            "mail",
            "--mailto",
            "ann@example.org",
            "--service",
            "zz-sys",
        ),
        is_root=True,
    ),
    Client(
        name="systemd-unit",
        package="systemd",
        command=(
            "env",
            "-i",
            "PATH=/usr/bin:/bin",
            "sh",
            "/FOLDER/joe/systemd-email",
            "ann@example.org",
            "pots.service",
        ),
        is_root=True,
        files={"joe/systemd-email": SYSTEMD},
    ),
    perl(
        "perl-mime-lite",
        "libmime-lite-perl",
        "use MIME::Lite; MIME::Lite->new(From=>'joe@example.com', To=>'ann@example.org, bob',"
        " Cc=>'eve@example.net', Subject=>'hi', Data=>\"hello\\n.\\nbye\\n\")->send('sendmail')",
    ),
    perl(
        "perl-email-sender",
        "libemail-sender-perl",
        "use Email::Sender::Simple 'sendmail'; use Email::Sender::Transport::Sendmail;"
        " use Email::Simple; sendmail(Email::Simple->create(header=>[From=>'joe@example.com',"
        " To=>'ann@example.org', Subject=>'hi'], body=>\"hello\\n\"), {from=>'bounce@example.com',"
        " to=>['ann@example.org','bob@example.net'],"
        " transport=>Email::Sender::Transport::Sendmail->new})",
    ),
    perl(
        "perl-mail-mailer",
        "libmailtools-perl",
        "use Mail::Mailer; my $m = Mail::Mailer->new('sendmail'); $m->open({"
        "From=>'joe@example.com', To=>['ann@example.org','bob'], Subject=>'hi'});"
        ' print $m "hello\\n"; $m->close',
    ),
    python(
        "python-email",
        "import subprocess\nfrom email.message import EmailMessage\nm = EmailMessage()\n"
        "m['From'] = 'Jürg <joe@example.com>'\nm['To'] = 'Ann <ann@example.org>'\n"
        "m['Bcc'] = 'eve@example.net'\nm['Subject'] = 'grüße'\nm.set_content('hello\\ngrüße\\n')\n"
        "subprocess.run(['/usr/sbin/sendmail', '-t', '-oi'], input=m.as_bytes(), check=True)",
    ),
    python(
        "python-smtplib-text",
        "import subprocess\nfrom email.message import EmailMessage\nfrom email.policy import SMTP\n"
        "m = EmailMessage(policy=SMTP)\nm['From'] = 'joe@example.com'\n"
        "m['To'] = 'ann@example.org'\nm['Subject'] = 'hi'\nm.set_content('hello\\n')\n"
        "subprocess.run(['/usr/sbin/sendmail', '-i', '-f', 'joe@example.com', '--',"
        " 'ann@example.org'], input=m.as_bytes(), check=True)",
    ),
)
