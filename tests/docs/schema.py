"""Values against the schemas of an OpenAPI document: the part of JSON Schema that ours use."""

import re

TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}
KNOWN = {"$ref", "type", "description", "examples", "default", "format", "enum", "const", "pattern",
         "minLength", "maxLength", "minimum", "maximum", "properties", "required", "minProperties",
         "additionalProperties", "items", "minItems", "maxItems", "oneOf", "allOf",
         "contentEncoding"}
UUID = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def resolve(document, node):
    """The node that a $ref leads to, or the node itself."""
    while isinstance(node, dict) and "$ref" in node:
        target = document
        for step in node["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        node = {**target, **{k: v for k, v in node.items() if k != "$ref"}}
    return node


def is_type(value, name):
    if name in ("number", "integer"):
        return (isinstance(value, (int, float)) and not isinstance(value, bool)
                and (name == "number" or value == int(value)))
    return isinstance(value, TYPES[name])


def scalar_faults(schema, value):
    if "enum" in schema and value not in schema["enum"]:
        yield f"{value!r} is none of {schema['enum']}"
    if "const" in schema and value != schema["const"]:
        yield f"{value!r} is not {schema['const']!r}"
    if isinstance(value, str):
        if "pattern" in schema and not re.search(schema["pattern"], value):
            yield f"{value!r} does not match {schema['pattern']}"
        if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
            yield f"{value!r} is too short or too long"
        if schema.get("format") == "uuid" and not UUID.fullmatch(value):
            yield f"{value!r} is no UUID"
    elif is_type(value, "number"):
        if not schema.get("minimum", value) <= value <= schema.get("maximum", value):
            yield f"{value!r} is out of range"


def object_faults(document, schema, value):
    properties = schema.get("properties", {})
    for name in schema.get("required", []):
        if name not in value:
            yield f"lacks {name}"
    if len(value) < schema.get("minProperties", 0):
        yield "has too few members"
    for name, member in value.items():
        inner = properties.get(name, schema.get("additionalProperties", True))
        if inner is False:
            yield f"{name} is not in the document"
        elif inner is not True:
            yield from (f"{name}: {fault}" for fault in faults(document, inner, member))


def faults(document, schema, value):
    """What is wrong with a value, in words; nothing when it fits."""
    schema = resolve(document, schema)
    unknown = set(schema) - KNOWN
    if unknown:
        yield f"the schema uses {sorted(unknown)}, which schema.py does not know"
    types = schema.get("type", [])
    types = [types] if isinstance(types, str) else types
    if types and not any(is_type(value, t) for t in types):
        yield f"{value!r} is not of type {' or '.join(types)}"
        return
    yield from scalar_faults(schema, value)
    if isinstance(value, dict):
        yield from object_faults(document, schema, value)
    if isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
            yield f"has {len(value)} items"
        for i, item in enumerate(value):
            yield from (f"[{i}] {f}" for f in faults(document, schema.get("items", {}), item))
    for part in schema.get("allOf", []):
        yield from faults(document, part, value)
    if "oneOf" in schema:
        fits = sum(not list(faults(document, part, value)) for part in schema["oneOf"])
        if fits != 1:
            yield f"{value!r} fits {fits} of the forms instead of one"


def undocumented(document, schema, value):
    """Members of a value, at any depth, that its schema does not name."""
    schema = resolve(document, schema)
    parts = [resolve(document, p) for p in schema.get("allOf", [])] or [schema]
    if isinstance(value, list):
        for item in value:
            yield from undocumented(document, schema.get("items", {}), item)
    if not isinstance(value, dict) or "oneOf" in schema:
        return
    named, others = {}, None
    for part in parts:
        for inner in [part] + [resolve(document, p) for p in part.get("allOf", [])]:
            named.update(inner.get("properties", {}))
            others = inner.get("additionalProperties", others)
    for name, member in value.items():
        if name in named:
            yield from undocumented(document, named[name], member)
        elif not isinstance(others, dict):
            yield name
