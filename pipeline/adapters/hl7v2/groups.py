"""A message cut into patients and their orders: which OBX, NTE and TQ1 belong to which OBR."""

from __future__ import annotations

from dataclasses import dataclass, field

from pipeline.adapters.hl7v2.message import Message, Segment


@dataclass(slots=True, eq=False)
class OrderGroup:
    """An ORC with its OBR (either may be absent) and what follows."""

    orc: Segment | None = None
    obr: Segment | None = None
    timings: list[Segment] = field(default_factory=list)
    procedures: list[Segment] = field(default_factory=list)
    zds: Segment | None = None
    notes: list[Segment] = field(default_factory=list)
    diagnoses: list[Segment] = field(default_factory=list)
    results: list[Segment] = field(default_factory=list)
    specimens: list[Segment] = field(default_factory=list)

    @property
    def ipc(self) -> Segment | None:
        """The first imaging procedure control segment."""
        return next(iter(self.procedures), None)

    def numbers(self, orc_field: int, obr_field: int) -> list[str]:
        """An entity identifier (EI.1) as ORC and OBR give it; those that are not empty."""
        pairs = ((self.orc, orc_field), (self.obr, obr_field))
        return [segment.text(number) for segment, number in pairs if segment is not None and segment.text(number)]


@dataclass(slots=True, eq=False)
class PatientGroup:
    """A PID with what belongs to it; pid None: the segments before the first one, or a message without."""

    pid: Segment | None = None
    pv1: Segment | None = None
    merges: list[Segment] = field(default_factory=list)
    diagnoses: list[Segment] = field(default_factory=list)
    orders: list[OrderGroup] = field(default_factory=list)

    def add(self, segment: Segment) -> None:
        """Segments come in the message's order."""
        match segment.name:
            case "PID":
                self.pid = segment
            case "PV1":
                self.pv1 = self.pv1 or segment
            case "MRG":
                self.merges.append(segment)
            case "ORC":
                self.orders.append(OrderGroup(orc=segment))
            case "OBR":
                self._obr(segment)
            case _:
                self._detail(segment)

    def _obr(self, segment: Segment) -> None:
        """An OBR belongs to the ORC before it; one without an ORC of its own shares the last one's."""
        last = self.orders[-1] if self.orders else None
        if last is not None and last.obr is None:
            last.obr = segment
        else:
            self.orders.append(OrderGroup(orc=last.orc if last else None, obr=segment))

    def _detail(self, segment: Segment) -> None:
        if not self.orders:
            if segment.name == "DG1":
                self.diagnoses.append(segment)
                return
            if segment.name != "OBX":  # notes on the patient, not on an order
                return
            self.orders.append(OrderGroup())
        last = self.orders[-1]
        match segment.name:
            case "OBX":
                last.results.append(segment)
            case "NTE" if not last.results:
                last.notes.append(segment)
            case "DG1":
                last.diagnoses.append(segment)
            case "TQ1":
                last.timings.append(segment)
            case "IPC":
                last.procedures.append(segment)
            case "ZDS":
                last.zds = segment
            case "SPM":
                last.specimens.append(segment)


def patient_groups(message: Message) -> list[PatientGroup]:
    """At least one."""
    groups = [PatientGroup()]
    for segment in message.segments[1:]:
        if segment.name == "PID" and (groups[-1].pid is not None or groups[-1].orders):
            groups.append(PatientGroup())
        groups[-1].add(segment)
    return groups
