"""The conformance kit: whether a connector keeps the contract, shown without credentials and without the provider.

::

    from genie_connect_spec.kit import ConnectorContract

    class TestAcme(ConnectorContract):
        connector = "acme"
        provider_kind = "http"

        def answer(self, request):
            return Answer(body=b'{"id": "1"}')

        @pytest.fixture
        def settings(self, provider):
            return {"base_url": provider.base_url, "api_key": "a-key-made-up-for-tests"}
"""

from genie_connect_spec.kit.behaviour import Behaviour
from genie_connect_spec.kit.check import Check, catalogue
from genie_connect_spec.kit.connector_contract import ConnectorContract
from genie_connect_spec.kit.http_provider import Answer, HttpProvider, HttpRequest
from genie_connect_spec.kit.provider import HandedOver, Provider
from genie_connect_spec.kit.smtp_provider import SmtpProvider

__all__ = [
    "Answer",
    "Behaviour",
    "Check",
    "ConnectorContract",
    "HandedOver",
    "HttpProvider",
    "HttpRequest",
    "Provider",
    "SmtpProvider",
    "catalogue",
]
