"""What waits for reps: they answer one lead after the other, overlook some, and may be away."""

from __future__ import annotations

from typing import TYPE_CHECKING

from salesgauge.streams.simulation.environment import Environment

if TYPE_CHECKING:
    from collections.abc import Callable

    from salesgauge.streams.simulation.crm_log import SimulatedLead
    from salesgauge.streams.simulation.people import Roster, SimulatedRep

_HANDLING_HOURS = 2.5 / 60  # median of the time that an answer takes
_OVERLOOKED_HOURS = 1.2  # median until somebody notices


class Inboxes:
    """The leads that nobody has answered, by rep; ``answer`` is called when a lead's turn has come."""

    def __init__(self, env: Environment, roster: Roster, answer: Callable[[SimulatedLead, SimulatedRep], None]) -> None:
        self._env = env
        self._roster = roster
        self._answer = answer

    def put(self, lead: SimulatedLead, rep: SimulatedRep, attention: float = 1.0) -> None:
        """A lead waits for its rep, who turns to it after some minutes; now and then one is overlooked for longer."""
        env = self._env
        if env.chance(rep.neglect / attention):
            env.work(_OVERLOOKED_HOURS, 0.3, self._pass_on, lead)
        else:
            env.work(rep.minutes / 60 * self._roster.distraction / attention, 0.6, self._turn_to, lead, rep)

    def hand_over(self, rep: SimulatedRep) -> None:
        """Others get what waits for a rep, and what comes."""
        self._roster.cover(rep, covered=True)
        waiting, rep.inbox = rep.inbox, []
        for lead in waiting:
            self._pass_on(lead)

    def back(self, rep: SimulatedRep) -> None:
        """A rep is at work again."""
        rep.away = False
        self._roster.cover(rep, covered=False)
        if not rep.serving:
            self._serve(rep)

    def _pass_on(self, lead: SimulatedLead) -> None:
        if not lead.closed:
            self.put(lead, self._roster.assign(lead), attention=2.0)

    def _turn_to(self, lead: SimulatedLead, rep: SimulatedRep) -> None:
        if rep.left or rep.covered:
            self._pass_on(lead)
            return
        rep.inbox.append(lead)
        if not rep.serving:
            self._serve(rep)

    def _serve(self, rep: SimulatedRep) -> None:
        rep.inbox = [lead for lead in rep.inbox if not lead.closed]
        rep.serving = bool(rep.inbox) and not rep.away
        if rep.serving:
            self._env.work(_HANDLING_HOURS, 0.4, self._served, rep, rep.inbox.pop(0))

    def _served(self, rep: SimulatedRep, lead: SimulatedLead) -> None:
        if rep.left or rep.covered:
            self.hand_over(rep)
            self._pass_on(lead)
        elif rep.away:
            rep.inbox.insert(0, lead)
        elif not lead.closed:
            self._answer(lead, rep)
        self._serve(rep)
