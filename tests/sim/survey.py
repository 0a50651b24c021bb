"""Cuts the power at every operation of a scenario, recovers, and checks what is owed to people."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random

from tests.sim.power import NOTHING, Choice, Power, PowerCut, Torn
from tests.sim.simfs import SimFs
from tests.sim.simworld import Disks, Key, Machine, Mail, Outside, copy_of, mail_number

Scenario = Callable[[Machine], None]
Boot = Callable[[Disks, Outside, int], Machine]
PREFIXES_MAX = 40
"""More pairs of name prefixes than this at one cut are sampled by a seed."""
Pair = tuple[Choice, Choice]


class LossError(AssertionError):
    """An accepted message is neither delivered nor bounced."""


class HalfMessageError(AssertionError):
    """A reader can see something in new/ that is no whole message."""


@dataclass(slots=True)
class Tally:
    """What a survey went through."""

    operations: int = 0
    cuts: int = 0
    """Pairs of cut and disk model."""
    recoveries: int = 0
    """Those of them that left different disks: each was recovered and checked."""
    duplicates: int = 0


# --- disk models ----------------------------------------------------------------------------------


def model_nothing(_disks: Disks, _seed: int) -> Iterator[Pair]:
    """Only what was synced is there."""
    yield NOTHING, NOTHING


def model_names_first(disks: Disks, seed: int) -> Iterator[Pair]:
    """Every first part of the names that were not synced, on either disk, with torn files."""
    pairs = [
        (Choice(queue, torn), Choice(mail, torn))
        for queue in range(disks.queue.waiting + 1)
        for mail in range(disks.mail.waiting + 1)
        for torn in Torn
    ]
    yield from pairs if len(pairs) <= PREFIXES_MAX else Random(seed).sample(pairs, PREFIXES_MAX)


def model_mixed(disks: Disks, seed: int) -> Iterator[Pair]:
    """A few random first parts, each file torn in its own way."""
    random = Random(seed)
    for _ in range(3):
        yield (
            Choice(random.randint(0, disks.queue.waiting), seed=random.getrandbits(32)),
            Choice(random.randint(0, disks.mail.waiting), seed=random.getrandbits(32)),
        )


Model = Callable[[Disks, int], Iterator[Pair]]
MODELS: dict[str, Model] = {
    "nothing": model_nothing,
    "names_first": model_names_first,
    "mixed": model_mixed,
}


# --- what is owed ---------------------------------------------------------------------------------


def records(files: dict[str, bytes], path: str) -> set[bytes]:
    """Return the recipients that a todo, local or remote file still names."""
    return {part[1:] for part in files.get(path, b"").split(b"\0") if part[:1] == b"T"}


def pending(queue: SimFs) -> set[Key]:
    """Return the deliveries that the queue's files ask for."""
    return {(mail_number(text), address) for text, address in asked_for(queue.files())}


def asked_for(files: dict[str, bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Yield text and recipient of each of them: our own reading of spec/queue.md 3."""
    for path, text in files.items():
        kind, _, rest = path.partition("/")
        if kind != "mess":
            continue
        number = rest.partition("/")[2]
        paths = [f"todo/{number}"]
        if paths[0] not in files:
            paths = [f"{kind}/{rest}" for kind in ("local", "remote")]
        for asking in paths:
            for address in records(files, asking):
                yield text, address


@dataclass(slots=True)
class Found:
    """What people have in the end: texts by recipient."""

    texts: dict[bytes, list[bytes]] = field(default_factory=dict)

    def add(self, recipient: bytes, text: bytes) -> None:
        self.texts.setdefault(recipient, []).append(text)


def received(text: bytes) -> bytes:
    """Return the text without the line that qmail-queue put before it."""
    head, _, rest = text.partition(b"\n")
    if not head.startswith(b"Received: (qmail "):
        raise HalfMessageError(f"not a whole message: {text!r}")
    return rest


def is_whole(text: bytes, outside: Outside) -> bool:
    """Tell whether a text without its Received line is a sent mail, or a bounce with all of one."""
    if text in {mail.text for mail in outside.sent.values()}:
        return True
    ends = any(text.endswith(mail.text) for mail in outside.sent.values())
    return b"Subject: failure notice\n\n" in text and ends


def look(disks: Disks, outside: Outside) -> Found:
    """Gather what arrived. Raises: HalfMessageError."""
    found = Found()
    arrived = [
        (path.split(".", 2)[2].encode(), text)
        for path, text in disks.mail.files().items()
        if path.startswith("new/")
    ]
    for recipient, text in [*arrived, *outside.relayed]:
        rest = received(text)
        if not is_whole(rest, outside):
            raise HalfMessageError(f"half a message for {recipient!r}: {text!r}")
        found.add(recipient, rest)
    return found


def told(mail: Mail, recipient: bytes, found: Found) -> bool:
    """Tell whether the sender, or else the postmaster, has a bounce about `recipient`."""
    readers = (mail.sender, b"postmaster@here")
    return any(
        b"<" + recipient + b">:\n" in text and text.endswith(mail.text)
        for reader in readers
        for text in found.texts.get(reader, [])
    )


def check_owed(outside: Outside, found: Found) -> None:
    """Every accepted message is delivered or bounced. Raises: LossError."""
    for number in outside.accepted:
        mail = outside.sent[number]
        for recipient in mail.recipients:
            if recipient.startswith(b"no"):
                is_done = told(mail, recipient, found)
            else:
                is_done = mail.text in found.texts.get(recipient, [])
            if not is_done:
                raise LossError(f"mail {number} to {recipient!r} is lost")


def check_duplicates(outside: Outside, found: Found, owed: Counter[Key]) -> int:
    """Nobody gets a message again but where the disk still asked for it after a cut."""
    more = 0
    for mail in outside.sent.values():
        for recipient in mail.recipients:
            copies = found.texts.get(recipient, []).count(mail.text)
            allowed = 1 + owed[mail.number, recipient]
            assert copies <= allowed, f"{copies} copies of {mail.number} for {recipient!r}"
            more += max(0, copies - 1)
    return more


def check_settled(outside: Outside, owed: set[Key]) -> None:
    """What ended is on disk before the next delivery of the message is settled.

    Only the last delivery of a message may be asked for again: its mark is the removal of the
    message, which the next commit of anything carries to disk.
    """
    for number, mail in outside.sent.items():
        done = [recipient for key, recipient in outside.settled if key == number]
        is_over = set(done) == set(mail.recipients)
        safe = set(done[:-1] if is_over else done)
        again = {recipient for recipient in safe if (number, recipient) in owed}
        assert not again, f"mail {number} is owed again to {again}, which was settled"


def check_rest(machine: Machine) -> None:
    """No file is left that could be taken for another message, and nothing was quarantined."""
    assert not machine.disks.queue.files(), f"left in the queue: {machine.disks.queue.files()}"
    assert not machine.send.alerts, machine.send.alerts


# --- the survey -----------------------------------------------------------------------------------


def run(scenario: Scenario, cut_at: int | None, boot: Boot = Machine) -> tuple[Disks, Outside]:
    """Run a scenario on a new home up to the cut."""
    disks, outside = Disks.new(Power(cut_at)), Outside()
    try:
        scenario(boot(disks, outside, 1))
    except PowerCut:
        return disks, outside
    return disks, outside


def check_all(machine: Machine, owed: Counter[Key]) -> int:
    """Check a machine that has come to rest. Returns: the duplicates."""
    found = look(machine.disks, machine.outside)
    check_owed(machine.outside, found)
    check_rest(machine)
    return check_duplicates(machine.outside, found, owed)


def recover(
    disks: Disks, outside: Outside, boot: Boot = Machine, *, was_healthy: bool = True
) -> int:
    """Start on what a cut left, deliver everything, check. Returns: the duplicates."""
    owed = pending(disks.queue)
    if was_healthy:
        check_settled(outside, owed)
    look(disks, outside)
    machine = boot(disks, outside, 2)
    machine.rest()
    return check_all(machine, Counter(owed))


def survey(scenario: Scenario, models: dict[str, Model], boot: Boot = Machine) -> Tally:
    """Cut a scenario at every operation under every model, recover each time, and check."""
    tally = Tally()
    disks, outside = run(scenario, None, boot)
    tally.operations = disks.queue.power.count
    seen: set[object] = set()
    for cut_at in range(tally.operations + 1):
        disks, outside = run(scenario, cut_at, boot)
        before = outside.key()
        for queue, mail in _all_pairs(disks, models, cut_at):
            tally.cuts += 1
            left = disks.after_power_cut(queue, mail)
            key = (left.key(), before)
            if key not in seen:
                seen.add(key)
                tally.recoveries += 1
                tally.duplicates += recover(left, copy_of(outside), boot)
    return tally


def findings(scenario: Scenario, models: dict[str, Model], boot: Boot) -> dict[str, list[str]]:
    """Survey a design that is known to be wrong; return what the checks said, by kind."""
    disks, _ = run(scenario, None, boot)
    found: dict[str, list[str]] = {}
    seen: set[object] = set()
    for cut_at in range(disks.queue.power.count + 1):
        disks, outside = run(scenario, cut_at, boot)
        for queue, mail in _all_pairs(disks, models, cut_at):
            left = disks.after_power_cut(queue, mail)
            key = (left.key(), outside.key())
            if key not in seen:
                seen.add(key)
                try:
                    recover(left, copy_of(outside), boot)
                except AssertionError as error:
                    found.setdefault(type(error).__name__, []).append(str(error))
    return found


def survey_twice(scenario: Scenario, models: dict[str, Model]) -> Tally:
    """Cut at every third operation, and cut the recovery at every one of its operations."""
    tally = Tally()
    disks, _ = run(scenario, None)
    firsts: set[object] = set()
    seconds: set[object] = set()
    for cut_at in range(0, disks.queue.power.count + 1, 3):
        disks, outside = run(scenario, cut_at)
        for queue, mail in _all_pairs(disks, models, cut_at):
            left = disks.after_power_cut(queue, mail)
            key = (left.key(), outside.key())
            if key not in firsts:
                firsts.add(key)
                _cut_recovery((left, outside), models, seconds, tally)
    return tally


def _all_pairs(disks: Disks, models: dict[str, Model], seed: int) -> Iterator[Pair]:
    for model in models.values():
        yield from model(disks, seed)


def _cut_recovery(
    left: tuple[Disks, Outside], models: dict[str, Model], seen: set[object], tally: Tally
) -> None:
    owed = pending(left[0].queue)
    cut_at = 0
    while True:
        disks = left[0].after_power_cut(NOTHING, NOTHING, Power(cut_at))
        world = copy_of(left[1])
        try:
            Machine(disks, world, 2).rest()
            return
        except PowerCut:
            tally.operations += 1
        for queue, mail in _all_pairs(disks, models, cut_at):
            tally.cuts += 1
            found = disks.after_power_cut(queue, mail)
            key = (found.key(), world.key(), frozenset(owed))
            if key not in seen:
                seen.add(key)
                tally.recoveries += 1
                tally.duplicates += _recover_again(found, copy_of(world), owed)
        cut_at += 1


def _recover_again(disks: Disks, outside: Outside, before: set[Key]) -> int:
    owed = pending(disks.queue)
    look(disks, outside)
    machine = Machine(disks, outside, 3)
    machine.rest()
    return check_all(machine, Counter(before) + Counter(owed))
