"""Whether the connector keeps the contract."""

from genie_connect_spec.kit import Answer, ConnectorContract


class TestAcme(ConnectorContract):
    connector = "acme"
    provider_kind = "http"

    def answer(self, request):
        """What the provider says when all is well."""
        return Answer(body=b'{"name": "Kit"}' if request.path == "/account" else b'{"id": "1"}')

    def settings_of(self, provider):
        return {"base_url": provider.base_url, "api_key": "a-key-made-up-for-tests"}
