"""Engines: what calls a worker for each unit of work, at least once.

An engine need not be exact. It may call twice, late, in any order, or lose work: the ledger lets one worker at a time
have a unit, and whatever nobody works on is offered again.
"""

from genie_connect.engine.contract import Engine, Factory, Handler, Place, TellsTrouble, Work

__all__ = ["Engine", "Factory", "Handler", "Place", "TellsTrouble", "Work"]
