"""A machine whose programs are killed one by one, as qmail-start restarts them."""

from tests.sim.power import PowerCut
from tests.sim.simworld import SLOTS, Machine, Mail

from qmail.mail import Channel


class KillMachine(Machine):
    """What would be a power cut is the death of the program at work; `is_power_cut`: it is one."""

    is_power_cut = False
    kills = 0

    def _died(self) -> None:
        self.disks.queue.power.restore()
        for disk in (self.disks.queue, self.disks.mail):
            disk.drop_descriptors()
            disk.opened_anew(self.who)
        self.kills += 1
        self.boots += 1
        restart = {
            "queue": self._restart_queue,
            "send": self._restart_send,
            "clean": self._restart_clean,
            "deliverer": self._restart_deliverer,
        }
        restart[self.who]()

    def _restart_queue(self) -> None:
        """Unanswered submitters are hung up on; the new one says hello to qmail-send."""
        self.queue = self.queue_class(self.disks, self.outside, 100 + self.boots)
        asked, self.send.asked = self.send.asked, {}
        for message in asked.values():
            self.send.dispatcher.ending.bounced(message, None)
        self.send.dispatcher.rescan()

    def _restart_send(self) -> None:
        """What the others still do for the dead one, they do before the new one is up."""
        orders, self.orders = self.orders, []
        self.do_orders(orders)
        self.deliverer.work()
        self.deliverer.reports.clear()
        self.queue.bounce_receipts()
        self.send = self.send_class(self.disks, self.outside)

    def _restart_clean(self) -> None:
        self.orders = []
        self.send.dispatcher.ending.clean_lost()

    def _restart_deliverer(self) -> None:
        self.deliverer = self.deliverer_class(self.disks, self.outside, 100 + self.boots)
        for channel in Channel:
            self.send.dispatcher.disconnected(channel)
            self.send.dispatcher.connected(channel, SLOTS)

    def submit(self, *mails: Mail) -> None:
        """As Machine does."""
        try:
            super().submit(*mails)
        except PowerCut:
            self._survive()

    def _survive(self) -> None:
        if self.is_power_cut:
            raise PowerCut
        self._died()

    def queue_turn(self) -> None:
        """As Machine does."""
        try:
            super().queue_turn()
        except PowerCut:
            self._survive()

    def clean_turn(self) -> None:
        """As Machine does."""
        try:
            super().clean_turn()
        except PowerCut:
            self._survive()

    def turn(self) -> bool:
        """As Machine does."""
        try:
            return super().turn()
        except PowerCut:
            self._survive()
            return True

    def pass_time(self, seconds: float) -> None:
        """As Machine does."""
        try:
            super().pass_time(seconds)
        except PowerCut:
            self._survive()
