"""Who controls an address: users/cdb, then the rules of qmail-getpw (spec/delivery.md 2)."""

import io
import os
import threading
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.core.addresses.test_users import FakeDirectory

from qmail.core import cdb as cdb_module
from qmail.core.addresses.assign import assignments, records
from qmail.core.addresses.owners import Owners
from qmail.core.addresses.users import answer_for
from qmail.core.cdb import write_cdb
from qmail.core.local.route import local_route
from qmail.protocol.local_door import Owner
from qmail.protocol.local_exits import LocalExit
from qmail.protocol.netstring import FrameReader

SOLE = (1001, 100)


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _fd: None)


def write_users(home: Path, *lines: str) -> None:
    (home / "users").mkdir(exist_ok=True)
    file = io.BytesIO("".join(f"{line}\n" for line in (*lines, ".")).encode())
    path = str(home / "users/cdb")
    write_cdb(path, f"{path}.tmp", records(assignments(file)))


def line(address: str, user: str, ext: str = "", dash: str = "-") -> str:
    return f"{address}:{user}:2000:200:/home/{user}:{dash}:{ext}:"


def found(owners: Owners, local: bytes) -> tuple[str, str]:
    owner = owners.find(local).owner
    assert owner is not None
    return owner.user.decode(), (owner.dash + b"|" + owner.ext).decode()


@pytest.fixture
def owners(tmp_path: Path) -> Owners:
    write_users(
        tmp_path,
        line("=ann", "ann", dash=""),
        line("=ann", "second"),
        line("+ann-", "ann"),
        line("+ann-list-", "lists", "l-"),
        line("+ann-list-", "later"),
        line("=ann-list-x", "exact"),
        line("+v-Ex-", "upper"),
        line("+J", "never"),
        line("+mixed-CASE-", "mixed"),
        line("+box", "box"),
    )
    return Owners(str(tmp_path), FakeDirectory())


@pytest.mark.parametrize(
    ("local", "user", "rest"),
    [
        (b"ann", "ann", "|"),
        (b"ANN", "ann", "|"),
        (b"ann-x", "ann", "-|x"),
        (b"Ann-X.Y-Z", "ann", "-|X.Y-Z"),
        (b"ann-", "ann", "-|"),
    ],
)
def test_delivery_2_a_local_part_is_looked_up_in_lower_case_and_its_rest_keeps_its_case(
    owners: Owners, local: bytes, user: str, rest: str
) -> None:
    assert found(owners, local) == (user, rest)


def test_control_files_5_1_the_first_simple_line_wins(owners: Owners) -> None:
    assert found(owners, b"ann") == ("ann", "|")


def test_control_files_5_1_the_longest_wildcard_wins(owners: Owners) -> None:
    assert found(owners, b"ann-list-y") == ("lists", "-|l-y")
    assert found(owners, b"ann-listy") == ("ann", "-|listy")


def test_control_files_5_1_simple_beats_wildcard(owners: Owners) -> None:
    assert found(owners, b"ann-list-x") == ("exact", "-|")
    assert found(owners, b"ann-list-xx") == ("lists", "-|l-xx")


def test_control_files_5_1_of_equal_wildcards_the_first_wins(owners: Owners) -> None:
    assert found(owners, b"ann-list-") == ("lists", "-|l-")


def test_control_files_5_1_a_wildcard_covers_its_own_text_too(owners: Owners) -> None:
    assert found(owners, b"box") == ("box", "-|")
    assert found(owners, b"boxes") == ("box", "-|es")


def test_control_files_5_2_a_wildcard_is_found_if_its_last_byte_is_in_lower_case(
    owners: Owners,
) -> None:
    assert found(owners, b"v-ex-1") == ("upper", "-|1")
    assert found(owners, b"mixed-case-1") == ("mixed", "-|1")
    # Its last byte is among the wildchars as written, and a look-up asks in lower case.
    assert found(owners, b"jim") == ("alias", "-|jim")


def test_delivery_2_without_an_assignment_the_rules_of_getpw_decide(owners: Owners) -> None:
    for local in (b"joe", b"joe-x", b"nobody-here"):
        assert owners.find(local) == answer_for(local, FakeDirectory())


def test_delivery_2_without_users_cdb_the_rules_of_getpw_decide(tmp_path: Path) -> None:
    owners = Owners(str(tmp_path), FakeDirectory())
    assert found(owners, b"joe-x") == ("joe", "-|x")
    (tmp_path / "users").mkdir()
    assert found(owners, b"joe-x") == ("joe", "-|x")


def test_delivery_2_an_assignment_needs_no_account_and_no_home(tmp_path: Path) -> None:
    directory = FakeDirectory()
    directory.is_down = True
    write_users(tmp_path, line("+dom-", "vpopmail", "domains/"))
    assert found(Owners(str(tmp_path), directory), b"dom-info") == ("vpopmail", "-|domains/info")


def test_delivery_2_an_empty_wildcard_takes_every_address(tmp_path: Path) -> None:
    write_users(tmp_path, line("=joe", "joe", dash=""), line("+", "rest"))
    owners = Owners(str(tmp_path), FakeDirectory())
    assert found(owners, b"anything-Else") == ("rest", "-|anything-Else")
    assert found(owners, b"joe") == ("joe", "|")


def test_delivery_2_prefixes_whose_last_byte_ends_no_wildcard_are_not_looked_up(
    owners: Owners, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bytes] = []
    real = cdb_module.Cdb.get

    def get(self: cdb_module.Cdb, key: bytes, hashed: int | None = None) -> bytes | None:
        asked.append(key)
        return real(self, key, hashed)

    monkeypatch.setattr(cdb_module.Cdb, "get", get)
    owners.find(b"some-one-abc")
    assert asked == [b"", b"!some-one-abc\0", b"!some-one-", b"!some-", b"!"]


# --- trouble ------------------------------------------------------------------------------------


def write_raw(home: Path, *pairs: tuple[bytes, bytes]) -> Owners:
    (home / "users").mkdir(exist_ok=True)
    path = str(home / "users/cdb")
    write_cdb(path, f"{path}.tmp", pairs)
    return Owners(str(home), FakeDirectory())


def test_delivery_2_a_missing_record_of_wildchars_is_exit_117(tmp_path: Path) -> None:
    owners = write_raw(tmp_path, (b"!ann\0", b"ann\x002000\x00200\0/home/ann\0\0"))
    assert owners.find(b"ann").code == 117
    assert owners.find(b"other").code == LocalExit.BAD_CDB


@pytest.mark.parametrize(
    "data",
    [
        b"", b"ann", b"ann\0x\x00200\0/home/ann\0\0", b"ann\x002000\0x\0/home/ann\0\0",
        b"ann\x00-1\x00200\0/home/ann\0\0", b"ann\x004294967295\x00200\0/home/ann\0\0",
        b"ann\x002000\x004294967295\0/home/ann\0\0", b"ann\x002000\x00200\0home\0\0",
        b"ann\x002000\x00200\0/home/ann\0\0\0", b"ann\x002000\x00200\0/" + b"x" * 9000 + b"\0\0",
    ],
)  # fmt: skip
def test_a_record_that_is_wrong_is_trouble_and_no_crash(tmp_path: Path, data: bytes) -> None:
    owners = write_raw(tmp_path, (b"!ann\0", data), (b"!bob-", data), (b"", b"-"))
    assert owners.find(b"ann").code == LocalExit.BAD_CDB
    assert owners.find(b"bob-x").code == LocalExit.BAD_CDB
    assert owners.find(b"joe").code == 0


def test_delivery_2_other_errors_than_a_missing_file_are_exit_117(tmp_path: Path) -> None:
    (tmp_path / "users/cdb").mkdir(parents=True)
    assert Owners(str(tmp_path), FakeDirectory()).find(b"joe").code == LocalExit.BAD_CDB
    (tmp_path / "users/cdb").rmdir()
    (tmp_path / "users/cdb").write_bytes(b"short")
    answer = Owners(str(tmp_path), FakeDirectory()).find(b"joe")
    report = local_route(answer, b"joe@example.org")
    assert isinstance(report, bytes)
    assert report.startswith(b"Z")


def test_delivery_2_uid_0_is_refused_with_113(tmp_path: Path) -> None:
    write_users(tmp_path, "=root:root:0:0:/root:::", "+sys-:bin:00:2:/bin:-::")
    owners = Owners(str(tmp_path), FakeDirectory())
    assert owners.find(b"root").code == 113
    assert owners.find(b"sys-x").code == LocalExit.ROOT


# --- a database that changes --------------------------------------------------------------------


def test_a_change_is_seen_at_the_next_look_up(tmp_path: Path) -> None:
    owners = Owners(str(tmp_path), FakeDirectory())
    for number in range(10):
        write_users(tmp_path, line("=ann", f"ann{number}", dash=""))
        assert found(owners, b"ann") == (f"ann{number}", "|")
        assert found(owners, b"ann") == (f"ann{number}", "|")
    (tmp_path / "users/cdb").unlink()
    assert found(owners, b"ann") == ("alias", "-|ann")


def test_an_unchanged_database_is_not_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_users(tmp_path, line("=ann", "ann"))
    owners = Owners(str(tmp_path), FakeDirectory())
    owners.find(b"ann")

    def opened(*_arguments: object) -> int:
        raise AssertionError("opened again")

    monkeypatch.setattr(os, "open", opened)
    assert found(owners, b"ann") == ("ann", "-|")


def test_several_threads_may_ask_while_it_is_replaced(tmp_path: Path) -> None:
    write_users(tmp_path, line("=ann", "ann", dash=""))
    owners = Owners(str(tmp_path), FakeDirectory())
    wrong: list[object] = []
    is_over = threading.Event()

    def ask() -> None:
        while not is_over.is_set():
            answer = owners.find(b"ann")
            if answer.owner is None or answer.owner.user != b"ann":
                wrong.append(answer)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(50):
        write_users(tmp_path, line("=ann", "ann", dash=""), line(f"=x{number}", "x"))
    is_over.set()
    for thread in threads:
        thread.join()
    assert wrong == []


# --- homes of one account -----------------------------------------------------------------------


def test_one_account_gives_to_alias_what_users_cdb_does_not_give_to_it(tmp_path: Path) -> None:
    write_users(
        tmp_path,
        "=me:me:1001:999:/home/me:::",
        "+me-:me:1001:999:/home/me:-::",
        "=other:other:1002:100:/home/other:::",
        "=root:root:0:0:/root:::",
    )
    owners = Owners(str(tmp_path), FakeDirectory(), SOLE)
    alias = os.fsencode(tmp_path / "alias")
    # The account can't change its group, whatever the record says.
    assert owners.find(b"me").owner == Owner(b"me", 1001, 100, b"/home/me", b"", b"")
    assert owners.find(b"Me-X").owner == Owner(b"me", 1001, 100, b"/home/me", b"-", b"X")
    for local in (b"other", b"root", b"joe", b"anything"):
        assert owners.find(local).owner == Owner(b"alias", 1001, 100, alias, b"-", local)


def test_one_account_waits_with_a_broken_database_too(tmp_path: Path) -> None:
    (tmp_path / "users").mkdir()
    (tmp_path / "users/cdb").write_bytes(b"short")
    assert Owners(str(tmp_path), FakeDirectory(), SOLE).find(b"joe").code == 117


# --- the break character ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("break_", "local", "user", "rest"),
    [
        (b"+", b"joe+x", "joe", "-|x"),
        (b"+", b"joe-x", "alias", "-|joe-x"),
        (b"+", b"joe-list+x", "joe-list", "-|x"),
        (b"", b"joe", "joe", "|"),
        (b"", b"joe-x", "alias", "-|joe-x"),
    ],
)
def test_index_the_break_character_ends_the_user_and_dash_stays_a_dash(
    tmp_path: Path, break_: bytes, local: bytes, user: str, rest: str
) -> None:
    assert found(Owners(str(tmp_path), FakeDirectory(), None, break_), local) == (user, rest)


# --- whatever stands there ----------------------------------------------------------------------

addresses = st.text(alphabet="ab-J", max_size=5)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    table=st.lists(st.tuples(st.sampled_from("=+"), addresses), max_size=8),
    local=st.text(alphabet="ab-J", max_size=8),
)
def test_every_answer_is_what_the_table_says_read_line_by_line(
    tmp_path: Path, table: list[tuple[str, str]], local: str
) -> None:
    lines = [line(marker + text, f"u{at}") for at, (marker, text) in enumerate(table)]
    write_users(tmp_path, *lines)
    answer = Owners(str(tmp_path), FakeDirectory()).find(local.encode())
    assert answer.owner is not None
    asked = local.lower()
    chars = {text[-1:] for marker, text in table if marker == "+"} | {""}
    simple = [
        at for at, (marker, text) in enumerate(table) if (marker, text.lower()) == ("=", asked)
    ]
    wild = [
        (-len(text), at)
        for at, (marker, text) in enumerate(table)
        if marker == "+" and asked.startswith(text.lower()) and text.lower()[-1:] in chars
    ]
    if simple:
        assert (answer.owner.user, answer.owner.ext) == (b"u%d" % simple[0], b"")
    elif wild:
        length, at = min(wild)
        assert (answer.owner.user, answer.owner.ext) == (b"u%d" % at, local[-length:].encode())
    else:
        assert answer.owner.user == b"alias"
    (payload,) = FrameReader(16384).feed(answer.pack())
    assert type(answer).unpack(payload) == answer


def test_a_long_local_part_of_dashes_costs_little(tmp_path: Path) -> None:
    write_users(tmp_path, line("+ann-", "ann"))
    owners = Owners(str(tmp_path), FakeDirectory())
    owners.find(b"-" * 990)
    tracemalloc.start()
    owners.find(b"-" * 990)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 200_000


def test_alias_of_the_home_counts_and_not_that_of_the_list_of_accounts(tmp_path: Path) -> None:
    owners = Owners(str(tmp_path), FakeDirectory())
    homes = []
    for _ in range(2):
        owner = owners.find(b"jane").owner
        assert owner is not None
        homes.append(os.fsdecode(owner.home))
        (tmp_path / "alias").mkdir(exist_ok=True)
    assert homes == ["/var/qmail/alias", str(tmp_path / "alias")]


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    at=st.integers(min_value=0),
    patch=st.binary(min_size=1, max_size=6),
    local=st.sampled_from((b"ann", b"ann-x", b"bob-y", b"other")),
)
def test_fuzz_a_damaged_database_gives_an_owner_or_trouble_and_never_root(
    tmp_path: Path, at: int, patch: bytes, local: bytes
) -> None:
    write_users(tmp_path, line("=ann", "ann", dash=""), line("+ann-", "ann"), line("+bob-", "bob"))
    path = tmp_path / "users/cdb"
    raw = bytearray(path.read_bytes())
    # The header is most of the file, and mostly of tables without slots.
    at = at % (len(raw) - 2048) + 2048 if at % 4 else at % len(raw)
    raw[at : at + len(patch)] = patch
    path.write_bytes(raw)
    answer = Owners(str(tmp_path), FakeDirectory()).find(local)
    assert answer.code in (0, LocalExit.BAD_CDB, LocalExit.ROOT)
    if answer.owner is not None:
        assert answer.owner.uid != 0
        assert answer.owner.home.startswith(b"/")
        (payload,) = FrameReader(16384).feed(answer.pack())
        assert type(answer).unpack(payload) == answer
