"""What `qmail check` found, gathered and counted."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Report:
    """Lines for the reader. Errors and warnings are findings; a note is only good to know."""

    findings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    good: list[str] = field(default_factory=list)
    """Short words on what is in order, for the last line."""

    def error(self, what: str) -> None:
        """Add something that stops mail, or endangers it."""
        self.findings.append(f"error: {what}")

    def warning(self, what: str) -> None:
        """Add something that is probably not meant so."""
        self.findings.append(f"warning: {what}")

    def note(self, what: str) -> None:
        """Add something that may well be meant so."""
        self.notes.append(f"note: {what}")

    def fine(self, what: str) -> None:
        """Add something that was looked at and is in order."""
        self.good.append(what)
