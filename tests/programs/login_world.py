"""A home, the real qmail-pspawn on it, and a caller at run/login."""

import contextlib
import os
import pwd
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.programs.lspawn_driver import acting_as

from qmail.edge.machine.accounts import Accounts
from qmail.protocol.login_door import (
    LOGIN_FRAME_MAX,
    Accepted,
    Answer,
    Begin,
    Call,
    Challenge,
    Mechanism,
    Offer,
    Refusal,
    Refused,
    Response,
    Start,
    unpack_answer,
)
from qmail.protocol.netstring import FrameReader
from qmail.protocol.scram_keys import ITERATIONS_MIN, make_keys

WAIT_S = 60.0
START = "import sys; from qmail.programs.pspawn import main; sys.exit(main(sys.argv[1:]))"
MESSAGE = b"Subject: one\n\nbody\n"


def scram_secret(password: str, salt: bytes = b"0123456789abcdef") -> str:
    """Return the second field of a line of users/passwd."""
    keys = make_keys(password.encode(), salt, ITERATIONS_MIN)
    return "{SCRAM-SHA-256}" + keys.text().decode()


class Caller:
    """A connection to run/login."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._reader = FrameReader(LOGIN_FRAME_MAX)
        self._answers: list[Answer] = []
        self._last_tag = 0

    def send(self, *calls: Call) -> None:
        """Send frames."""
        self.sock.sendall(b"".join(call.pack() for call in calls))

    def answer(self) -> Answer:
        """Wait for the next answer; offers are passed over."""
        while True:
            answer = self.any_answer()
            if not isinstance(answer, Offer):
                return answer

    def any_answer(self) -> Answer:
        """Wait for the next frame."""
        while not self._answers:
            data = self.sock.recv(65536)
            assert data, "qmail-pspawn hung up"
            self._answers += map(unpack_answer, self._reader.feed(data))
        return self._answers.pop(0)

    def is_closed(self) -> bool:
        """Say whether the other side hangs up, whatever it says before."""
        while True:
            try:
                if not self.sock.recv(65536):
                    return True
            except ConnectionResetError:
                return True

    def tag(self) -> int:
        """Return a new tag."""
        self._last_tag += 1
        return self._last_tag

    def login(self, name: str | bytes, secret: str | bytes, **more: object) -> Answer:
        """Log in by name and password; return the answer."""
        self.send(begin(self.tag(), name, secret, **more))
        return self.answer()

    def start(self, tag: int) -> socket.socket:
        """Start the session of an accepted login; return the client's end."""
        ours, theirs = socket.socketpair()
        ours.settimeout(WAIT_S)
        socket.send_fds(self.sock, [Start(tag).pack()], [theirs.fileno()])
        theirs.close()
        return ours

    def exchange(self, mechanism: Mechanism, *messages: bytes) -> list[Answer]:
        """Say the messages of a SASL exchange one after the other; return the answers."""
        tag = self.tag()
        first = Begin(tag=tag, service=b"pop3", mechanism=mechanism, login=messages[0])
        self.send(first)
        answers = [self.answer()]
        for message in messages[1:]:
            assert isinstance(answers[-1], Challenge), answers
            self.send(Response(tag, message))
            answers.append(self.answer())
        return answers

    def close(self) -> None:
        """Hang up."""
        self.sock.close()


def begin(tag: int, name: str | bytes, secret: str | bytes, **more: object) -> Begin:
    """Return the frame of a login by name and password."""
    fields: dict[str, object] = {
        "tag": tag,
        "service": b"pop3",
        "mechanism": Mechanism.USER,
        "login": name if isinstance(name, bytes) else name.encode(),
        "secret": secret if isinstance(secret, bytes) else secret.encode(),
        "client": b"127.0.0.1",
        **more,
    }
    return Begin(**fields)  # type: ignore[arg-type]


def refused(answer: Answer) -> Refusal:
    """Return why a login was refused."""
    assert isinstance(answer, Refused), answer
    return answer.reason


def accepted(answer: Answer) -> Accepted:
    """Return the answer, which says yes."""
    assert isinstance(answer, Accepted), answer
    return answer


class LoginWorld:
    """The program, started on `home`."""

    def __init__(self, home: Path, accounts: Accounts) -> None:
        self.home = home
        self.accounts = accounts
        self.process: subprocess.Popen[bytes] | None = None
        self.log = home / "log"
        self._callers: list[Caller] = []

    def make_home(self) -> None:
        """Make what qmail-pspawn needs of a home."""
        self.home.chmod(0o755)
        for name in ("control", "users", "run", "queue", "alias"):
            folder = self.home / name
            folder.mkdir(mode=0o755)
        self.give(self.home / "queue", "qmailq")
        if not self.accounts.separate:
            for path in (self.home, *self.home.iterdir()):
                self.give(path, "alias")
        self.make_maildir(self.home / "alias", self.uid("alias"))
        self.log.touch()
        self.log.chmod(0o666)

    def uid(self, name: str) -> tuple[int, int]:
        """Return uid and gid of an account of the suite."""
        return self.accounts[name].uid, self.accounts[name].gid

    def give(self, path: Path, name: str) -> None:
        """Let the account `name` own `path`."""
        os.chown(path, *self.uid(name))

    def make_maildir(self, home: Path, who: tuple[int, int], name: str = "Maildir") -> Path:
        """Make a maildir with one message in a home."""
        home.mkdir(mode=0o755, exist_ok=True)
        os.chown(home, *who)
        folder = home / name
        for path in (folder, folder / "tmp", folder / "new", folder / "cur"):
            path.mkdir(mode=0o700)
            os.chown(path, *who)
        file = folder / "new" / "1000000000.1.host"
        file.write_bytes(MESSAGE)
        os.utime(file, (1e9, 1e9))
        os.chown(file, *who)
        return folder

    def passwd(self, *lines: str) -> None:
        """Write users/passwd."""
        file = self.home / "users/passwd"
        new = file.with_suffix(".new")
        new.write_text("".join(f"{line}\n" for line in lines))
        new.chmod(0o400)
        self.give(new, "qmailp")
        new.rename(file)

    def control(self, name: str, text: str) -> None:
        """Write a control file."""
        (self.home / "control" / name).write_text(text)

    def start(self, **environ: str) -> None:
        """Start the program with its door open."""
        door = socket.socket(socket.AF_UNIX)
        path = self.home / "run/login"
        door.bind(str(path))
        door.listen(64)
        path.chmod(0o666)
        account = self.accounts["alias"]
        becomes = os.getuid() == 0 and not self.accounts.separate
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", START],
                env={
                    **os.environ,
                    "QMAIL_HOME": str(self.home),
                    "QMAIL_DOOR": str(door.fileno()),
                    **environ,
                },
                stdout=log,
                stderr=log,
                pass_fds=[door.fileno()],
                cwd="/",
                user=account.uid if becomes else None,
                group=account.gid if becomes else None,
                extra_groups=[] if becomes else None,
            )
        door.close()

    def call(self, name: str = "qmaild") -> Caller:
        """Connect as an account of the suite."""
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(WAIT_S)
        with acting_as(self.accounts[name].uid):
            sock.connect(str(self.home / "run/login"))
        caller = Caller(sock)
        self._callers.append(caller)
        return caller

    def children(self, of: int = 0) -> dict[int, str]:
        """Return the name that ps shows of each child, by process id."""
        assert self.process is not None
        pid = of or self.process.pid
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return {int(child): name_of(int(child)) for child in found}

    def signal(self, number: int) -> None:
        """Send the program a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self) -> int:
        """Stop it; return its exit code."""
        assert self.process is not None
        self.signal(signal.SIGTERM)
        return self.process.wait(WAIT_S)

    def close(self) -> None:
        """End everything, however far it is."""
        for caller in self._callers:
            caller.close()
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(WAIT_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(WAIT_S)


@contextlib.contextmanager
def home_of(folder: Path, accounts: Accounts, *lines: str) -> Iterator[LoginWorld]:
    """Make a home with these lines in users/passwd; qmail-pspawn is not started yet."""
    world = LoginWorld(folder, accounts)
    world.make_home()
    world.passwd(*lines)
    try:
        yield world
    finally:
        world.close()


def name_of(pid: int) -> str:
    """Return the name that ps shows of a process, "" where it has ended."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def ids_of(pid: int) -> tuple[set[int], set[int], list[int]]:
    """Return all user ids, all group ids and the group list of a process."""
    rows = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    uids, gids = ({int(each) for each in rows[key].split()} for key in ("Uid", "Gid"))
    return uids, gids, [int(each) for each in rows["Groups"].split()]


def wait_until(what: str, is_so: object) -> None:
    """Wait for a condition, a function without arguments."""
    assert callable(is_so)
    end = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < end, what
        time.sleep(0.01)


def lines_until_closed(client: socket.socket) -> bytes:
    """Read to the end."""
    data = b""
    while part := client.recv(65536):
        data += part
    return data


def some_person() -> pwd.struct_passwd | None:
    """Return an account of a person, None where there is none."""
    return next((each for each in pwd.getpwall() if 1000 <= each.pw_uid < 65534), None)
