"""The Acme connector for Genie Connect: plain text over an HTTP API."""

from genie_connect import CapabilityTable, ConnectorInfo, Kind, Secret, setting, settings
from genie_connect.api import Account, ApiConnector, ApiSettings, Result, decoded, json_call, text_at
from genie_connect.model.capability import host, yes


@settings
class Settings(ApiSettings):
    api_key: Secret = setting(title="API key", help="Acme > Account > API keys", secret=True, group="auth")


class Acme(ApiConnector[Settings]):
    info = ConnectorInfo(
        id="acme", title="Acme", kind=Kind.API, settings_class=Settings, summary="Sends through Acme."
    )
    urls = {"": "https://api.example.com"}

    def capabilities(self, settings):
        """What is carried. For what is not listed, the host takes another connection."""
        able = ("send.transactional", "send.html", "send.international_addresses", "test.connection", "test.message")
        return CapabilityTable(connector="acme", entries=(*map(yes, able), host("suppressions")))

    def authorization(self, settings):
        return {"authorization": f"Bearer {settings.api_key.reveal()}"}

    def account(self, settings):
        """A request that sends nothing, and that is refused if the key is wrong."""
        return Account(path="/account", facts=lambda data: {"name": data["name"]})

    def calls(self, job, settings):
        """The requests for the copies of the message: here one for each."""
        for copy in job.copies:
            body = {
                "from": {"email": job.sender.email, "name": job.sender.name},
                "to": [{"email": each.email, "name": each.name} for each in copy.to],
                "subject": copy.texts.subject,
                "text": copy.texts.text,
                "html": copy.texts.html,
            }
            yield json_call("/messages", body, [copy])

    def results(self, call, response):
        """What an answer 2xx says of each copy: taken, with the provider's id. What is left out is in doubt."""
        provider_id = text_at(decoded(response), "id")
        return [Result(provider_id=provider_id)] if provider_id else []


connector = Acme()
