"""The document is one, and what it gives as examples is answered."""

import json

import openapi_spec_validator
import requests


def resolve(document, value):
    """What a reference stands for; the value itself if it is none."""
    if "$ref" not in value:
        return value
    for name in value["$ref"].removeprefix("#/").split("/"):
        document = document[name]
    return document


def test_it_is_valid(document):
    """By the schema of OpenAPI 3.1."""
    openapi_spec_validator.validate(document)
    assert document["openapi"].startswith("3.1")


def test_all_examples_are_answered(bridge, document):
    """Every example of every model of real TensorFlow."""
    count = 0
    for path, item in document["paths"].items():
        operation = item.get("post")
        if not operation:
            continue
        for parameter in operation.get("parameters", []):
            if parameter["in"] == "path":
                value = parameter["schema"]["enum"][-1]
                path = path.replace("{" + parameter["name"] + "}", value)
        body = resolve(document, operation["requestBody"])
        for media_type, content in body["content"].items():
            examples = [it["value"] for it in content.get("examples", {}).values()]
            examples += [content["example"]] if "example" in content else []
            for example in examples:
                text = example if isinstance(example, str) else json.dumps(example)
                reply = requests.post(
                    bridge + path, text.encode(), timeout=30,
                    headers={"Content-Type": media_type})
                assert reply.status_code == 200, (path, text, reply.text)
                count += 1
    assert count > 100
