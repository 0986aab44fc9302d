"""Avro schema text becomes a tree, or a message that says what is wrong."""

from __future__ import annotations

import json

import orjson
import pytest

from consumer.streams.avro_schema import LONGEST_TEXT, SchemaError, parse
from consumer.streams.avro_types import Array, AvroRecord, Dictionary, Enumeration, Fixed, Primitive, Reference, Union


def schema(*fields: object, **more: object) -> str:
    return orjson.dumps({"type": "record", "name": "R", "fields": list(fields), **more}).decode()


def field(kind: object, **more: object) -> dict[str, object]:
    return {"name": "a", "type": kind, **more}


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("string", Primitive("string")),
        ({"type": "string"}, Primitive("string")),
        ({"type": {"type": "string"}}, Primitive("string")),
        ({"type": "long", "logicalType": "timestamp-micros"}, Primitive("long", "timestamp-micros")),
        ({"type": "string", "logicalType": "timestamp-micros"}, Primitive("string")),
        ({"type": "long", "logicalType": "of-our-own"}, Primitive("long")),
        ({"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}, Primitive("bytes", "decimal", 2)),
        ({"type": "bytes", "logicalType": "decimal", "precision": 2, "scale": 9}, Primitive("bytes")),
        ({"type": "bytes", "logicalType": "decimal", "precision": 10**9, "scale": 10**9}, Primitive("bytes")),
        ({"type": "bytes", "logicalType": "decimal"}, Primitive("bytes")),
        (["null", "long"], Union((Primitive("null"), Primitive("long")))),
        ({"type": "array", "items": "int"}, Array(Primitive("int"))),
        ({"type": "map", "values": ["null", "int"]}, Dictionary(Union((Primitive("null"), Primitive("int"))))),
        ({"type": "enum", "name": "E", "symbols": ["A", "B"]}, Enumeration(("A", "B"))),
        ({"type": "fixed", "name": "F", "size": 16, "logicalType": "uuid"}, Fixed(16, "uuid")),
        ({"type": "fixed", "name": "F", "size": 15, "logicalType": "uuid"}, Fixed(15)),
        (["null", "R"], Union((Primitive("null"), Reference("R")))),
    ],
)
def test_types(kind: object, expected: object) -> None:
    assert parse(schema(field(kind))).root.fields[0].type == expected


def test_names_are_full_and_mentions_refer_to_them() -> None:
    inner = {"type": "record", "name": "Inner", "fields": [{"name": "x", "type": "int"}]}
    text = schema(
        {"name": "a", "type": inner},
        {"name": "b", "type": "Inner"},
        {"name": "c", "type": "org.own.Inner"},
        {"name": "d", "type": {**inner, "name": "else.Inner"}},
        namespace="org.own",
    )
    found = parse(text)
    kinds = [one.type for one in found.root.fields]
    assert found.root.name == "org.own.R"
    assert isinstance(kinds[0], AvroRecord)
    assert kinds[1:3] == [Reference("org.own.Inner")] * 2
    assert found.names["org.own.Inner"] is kinds[0]
    assert set(found.names) == {"org.own.R", "org.own.Inner", "else.Inner"}


def test_aliases_and_properties_of_a_field() -> None:
    found = parse(schema(field("string", aliases=["b", "c"], **{"adapty.type": "json", "default": ""}))).root.fields[0]
    assert found.aliases == ("b", "c")
    assert found.properties == {"adapty.type": "json", "default": ""}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ('"string"', "not a record"),
        ("[]", "a union without branches"),
        ('["null"]', "a union without a record"),
        ('["null", "int"]', "only have records and null"),
        ('{"type":"enum","name":"E","symbols":["A"]}', "not a record"),
        ('{"type":"record","name":"R"}', "no list of fields"),
        ('{"type":"record","fields":[]}', "needs a name"),
        ('{"type":"record","name":"a b","fields":[]}', "needs a name"),
        (schema(5), "not an object with a name"),
        (schema({"type": "int"}), "not an object with a name"),
        (schema({"name": "a"}), "lacks 'type'"),
        (schema(field("nope")), "field a: unknown type 'nope'"),
        (schema(field(5)), "not 5"),
        (schema(field([])), "without branches"),
        (schema(field(["null", ["int"]])), "directly inside"),
        (schema(field(["int", "null", "int"])), "names a type twice"),
        (schema(field("int"), field("long")), "field twice: a"),
        (schema(field("int", aliases="b")), "aliases is not a list"),
        (schema(field({"type": "array"})), "lacks 'items'"),
        (schema(field({"type": "map"})), "lacks 'values'"),
        (schema(field({"type": "enum", "name": "E", "symbols": []})), "no list of symbols"),
        (schema(field({"type": "enum", "name": "E", "symbols": ["A", "A"]})), "symbol twice"),
        (schema(field({"type": "fixed", "name": "F", "size": -1})), "has no size"),
        (schema(field({"type": "fixed", "name": "R", "size": 1})), "R is defined twice"),
        (
            '{"type":"record","name":"R","fields":[{"name":"a","type":'
            + '{"type":"array","items":' * 99
            + '"int"'
            + "}" * 99
            + "}]}",
            "nested too deep",
        ),
    ],
)
def test_what_is_wrong_is_said(text: str, says: str) -> None:
    with pytest.raises(SchemaError, match=says.replace("[", r"\[")):
        parse(text)


PLACE = {
    "type": "record",
    "name": "Place",
    "namespace": "com.my-shop.geo",
    "fields": [{"name": "city", "type": "string"}],
}


def test_a_namespace_may_have_any_characters_beside_the_name_or_in_it() -> None:
    inline = {"type": "record", "name": "Event", "namespace": "com.my-shop.events", "fields": [field(PLACE)]}
    assert set(parse(json.dumps(inline)).names) == {"com.my-shop.events.Event", "com.my-shop.geo.Place"}
    joined = {**PLACE, "name": "com.my-shop.geo.Place"}
    assert parse(json.dumps(joined)).root.name == "com.my-shop.geo.Place"
    with pytest.raises(SchemaError, match="needs a name"):
        parse(json.dumps(joined), 1)


@pytest.mark.parametrize("name", ["geo.a b", "geo.", ".", "my-name", "a.1"])
def test_the_name_itself_is_held_to_its_letters(name: str) -> None:
    with pytest.raises(SchemaError, match="needs a name"):
        parse(json.dumps({**PLACE, "name": name}))


@pytest.mark.parametrize(
    ("inner", "full"),
    [
        ({"name": ".Place"}, "Place"),
        ({"name": "Place", "namespace": ""}, "Place"),
        ({"name": "Place", "namespace": None}, "n.Place"),
        ({"name": "Place"}, "n.Place"),
        ({"name": "a.Place", "namespace": "b"}, "a.Place"),
    ],
)
def test_where_a_name_stands(inner: dict[str, object], full: str) -> None:
    place = {"type": "record", "fields": [], **inner}
    again = {"name": "b", "type": f".{full}" if "." not in full else full}
    found = parse(json.dumps({"type": "record", "name": "n.R", "fields": [field(place), again]}))
    assert set(found.names) == {"n.R", full}
    assert found.root.fields[1].type == Reference(full)


@pytest.mark.parametrize(
    "kind",
    [
        {"type": "enum", "name": "E", "symbols": ["x" * 1_001]},
        {"type": "record", "name": "N", "fields": [{"name": "x" * 1_001, "type": "int"}]},
        {"type": "fixed", "name": "x" * 1_001, "size": 1},
    ],
)
def test_names_and_symbols_are_bounded(kind: dict[str, object]) -> None:
    with pytest.raises(SchemaError, match="more than 1000 characters"):
        parse(schema(field(kind)))
    assert parse(schema(field(kind)), 1)


def test_the_text_of_a_schema_is_bounded() -> None:
    long = schema(field("int", doc="x" * LONGEST_TEXT))
    with pytest.raises(SchemaError, match="characters"):
        parse(long)
    assert parse(long, 1)


def test_a_union_of_records_has_the_fields_of_all() -> None:
    one = {"type": "record", "name": "A", "fields": [field("int"), {"name": "b", "type": "string"}]}
    two = {"type": "record", "name": "B", "fields": [{"name": "c", "type": "int"}, field(["null", "string"])]}
    found = parse(json.dumps([one, "null", two]))
    assert [one.name for one in found.root.fields] == ["a", "b", "c"]
    assert found.root.fields[0].type == Union((Primitive("int"), Primitive("null"), Primitive("string")))
    assert found.union is not None
    assert len(found.union.branches) == 3
    with pytest.raises(SchemaError, match="not a record"):
        parse(json.dumps([one, two]), 1)
