"""The written contract for Genie Connect connectors, and the kit that checks one against it."""

import pytest

# So that a test of a kit says what it compared.
pytest.register_assert_rewrite("genie_connect_spec.engine_contract")
