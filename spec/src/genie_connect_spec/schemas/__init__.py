"""JSON Schemas (2020-12) of the values of the contract, made from their classes and kept beside this file.

``python -m genie_connect_spec.schemas`` writes them anew; ``... release`` keeps them as those of the last release, with
which later ones are compared: what another program may rely on must not go away.
"""

from genie_connect_spec.schemas.compatibility import breaks
from genie_connect_spec.schemas.generate import schemas

__all__ = ["breaks", "schemas"]
