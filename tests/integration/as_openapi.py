"""Descriptions that vendors write in other languages, as OpenAPI 3, so that Prism can read them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tests.contrib.providers.harness import document, text_of
from tests.integration.api_blueprint import fields_under, object_of

JSON = "application/json"


def _post(path: str, media: Mapping[str, Any], schemas: Mapping[str, Any], *parameters: Any) -> dict[str, Any]:
    """A description of one operation that is asked for with POST."""
    bodies = {name: {"schema": schema} for name, schema in media.items()}
    operation = {
        "parameters": list(parameters),
        "requestBody": {"required": True, "content": bodies},
        "responses": {"200": {"description": "taken"}},
    }
    return {
        "openapi": "3.0.3",
        "info": {"title": "one operation", "version": "1"},
        "paths": {path: {"post": operation}},
        "components": {"schemas": schemas},
    }


def amazon_ses() -> dict[str, Any]:
    """The model that botocore is generated from: its shapes are schemas under other names."""
    model = document("amazon_ses/trimmed-sesv2-service-2.json")
    sends = model["operations"]["SendEmail"]
    assert sends["http"]["method"] == "POST"
    schemas = {name: _of_shape(shape) for name, shape in model["shapes"].items()}
    return _post(sends["http"]["requestUri"], {JSON: _reference(sends["input"])}, schemas)


def _reference(member: Mapping[str, Any]) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{member['shape']}"}


def _of_shape(shape: Mapping[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {"type": {"structure": "object", "map": "object", "list": "array"}.get(shape["type"])}
    match shape["type"]:
        case "structure":
            # What a vendor's service passes over in silence is a field that we misspelt.
            made["additionalProperties"] = False
            made["properties"] = {name: _reference(member) for name, member in shape["members"].items()}
            made |= {"required": shape["required"]} if shape.get("required") else {}
        case "map":
            made["additionalProperties"] = _reference(shape["value"])
        case "list":
            made["items"] = _reference(shape["member"])
            made |= _bounds(shape, "minItems", "maxItems")
        case "string" | "blob":
            made["type"] = "string"
            made |= {"format": "byte"} if shape["type"] == "blob" else _bounds(shape, "minLength", "maxLength")
            made |= {"enum": shape["enum"]} if "enum" in shape else {}
            made |= {"pattern": f"^(?:{shape['pattern']})$"} if "pattern" in shape else {}
        case "boolean" | "integer":
            made["type"] = shape["type"]
        case "long" | "double" | "timestamp":
            made["type"] = "number"
    return made


def _bounds(shape: Mapping[str, Any], least: str, most: str) -> dict[str, int]:
    return {name: shape[given] for name, given in ((least, "min"), (most, "max")) if given in shape}


def gmail() -> dict[str, Any]:
    """Google's discovery document: its schemas are JSON Schema but for their references."""
    described = document("gmail/trimmed-gmail.v1.discovery.json")
    method = described["resources"]["users"]["resources"]["messages"]["methods"]["send"]
    assert method["httpMethod"] == "POST"
    schemas = {name: _of_discovery(schema) for name, schema in described["schemas"].items()}
    user = {"name": "userId", "in": "path", "required": True, "schema": {"type": "string"}}
    made = _post(f"/{method['path']}", {JSON: _of_discovery(method["request"])}, schemas, user)
    upload = method["mediaUpload"]
    assert upload["accept"] == ["message/*"]
    kind = {"name": "uploadType", "in": "query", "required": True, "schema": {"enum": ["media"]}}
    whole = _post(upload["protocols"]["simple"]["path"], {"message/rfc822": {"type": "string"}}, {}, user, kind)
    made["paths"] |= whole["paths"]
    return made


def _of_discovery(node: Any) -> Any:
    if isinstance(node, list):
        return [_of_discovery(each) for each in node]
    if not isinstance(node, dict):
        return node
    if isinstance(node.get("$ref"), str):
        return {"$ref": f"#/components/schemas/{node['$ref']}"}
    # "byte" is base64url there, and base64 in OpenAPI; "id" and "annotations" are no words of it.
    made = {name: _of_discovery(each) for name, each in node.items() if name not in ("annotations", "format", "id")}
    if isinstance(made.get("properties"), dict):
        made["properties"] = {name: _of_discovery(each) for name, each in node["properties"].items()}
        made.setdefault("additionalProperties", False)
    return made


def msgraph() -> dict[str, Any]:
    """It is OpenAPI, and says of whole messages in words alone that they are base64 in ``text/plain``."""
    described: dict[str, Any] = document("msgraph/trimmed-sendmail.json")
    operation = described["paths"]["/users/{user-id}/sendMail"]["post"]
    assert "**base64** format in the request body" in operation["description"]
    (name,) = operation["requestBody"].values()
    body = described["components"]["requestBodies"][name.rsplit("/", 1)[1]]
    body["content"]["text/plain"] = {"schema": {"type": "string", "format": "byte"}}
    return described


def sparkpost() -> dict[str, Any]:
    """An API Blueprint: one list of fields for the request, and one for each kind of content."""
    blueprint = text_of("sparkpost/transmissions.apib")
    body = object_of(fields_under(blueprint, "### Request Body"))
    inline = object_of(fields_under(blueprint, "### Send Inline Content [POST]"))
    for name, heading in (("attachments", "#### Attachment Object"), ("inline_images", "#### Inline Image Object")):
        assert inline["properties"][name]["type"] == "array"
        inline["properties"][name]["items"] = object_of(fields_under(blueprint, heading))
    template = object_of(fields_under(blueprint, "### Send a Template [POST]"))
    body["properties"]["content"] = {"oneOf": [inline, template]}
    assert "## Create a Transmission [/v1/transmissions]" in blueprint
    return _post("/transmissions", {JSON: body}, {})


OTHERS: Mapping[str, Callable[[], dict[str, Any]]] = {
    "gmail": gmail,
    "msgraph": msgraph,
    "ses": amazon_ses,
    "sparkpost": sparkpost,
}
