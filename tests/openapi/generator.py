"""What schemathesis loads when test_random runs it: a faster generator, and a log of what was sent.

The generator makes the strategies of a schema anew for each value, and those of the schemas in it for each member and
item, though they are always the same: they are remembered. Its lists, its objects and what stands for any value are
large, and of a body that has them in one another, half the requests are thrown away for their size once they have been
made: here they are small. Neither has a public place to say so, hence the pinned versions in requirements.txt.
"""

import json
import os
import types

import schemathesis
from hypothesis import strategies
from hypothesis_jsonschema import _from_schema

LOG = os.environ["TFBRIDGE_TEST_LOG"]

# How many items a list may have, and an object members on average, beyond those that it must have.
MORE_ITEMS = 3
MORE_MEMBERS = 1


def small_lists(elements, *, min_size=0, max_size=None, **options):
    """Lists that have an end even where the schema has none."""
    largest = min_size + MORE_ITEMS
    return strategies.lists(
        elements, min_size=min_size, max_size=largest if max_size is None else max_size, **options)


def small_objects(data, *, min_size, max_size, average_size, many=_from_schema.cu.many):
    """Decides on the number of an object's members."""
    average_size = min(average_size, min_size + MORE_MEMBERS)
    return many(data, min_size=min_size, max_size=max_size, average_size=average_size)


def small_values():
    """Any value: lists and objects in lists and objects."""
    leaves = (
        strategies.none() | strategies.booleans() | strategies.integers() | strategies.text()
        | strategies.floats(allow_nan=False, allow_infinity=False).map(lambda number: number or 0.0))
    values = leaves
    for _ in range(2):
        objects = strategies.dictionaries(strategies.text(), values, max_size=MORE_ITEMS)
        values = leaves | small_lists(values) | objects
    return values


def remember(name):
    """Has a function of the generator called once for each schema, or list of schemas. The formats of strings are the
    same in all of a run."""
    make = getattr(_from_schema, name)
    made = {}

    def remembered(schema, *, alphabet, custom_formats):
        key = (json.dumps(schema), alphabet.allow_x00, alphabet.codec)
        if key not in made:
            made[key] = make(schema, alphabet=alphabet, custom_formats=custom_formats)
        return made[key]

    setattr(_from_schema, name, remembered)


_from_schema.st = types.SimpleNamespace(**(vars(strategies) | {"lists": small_lists}))
_from_schema.cu = types.SimpleNamespace(many=small_objects)
_from_schema.JSON_STRATEGY = small_values()
remember("__from_schema")
remember("merged_as_strategies")


@schemathesis.hook
def after_call(context, case, response):
    """Logs whether the request was a valid one, and the status of the reply."""
    line = [case.operation.label, case.meta.generation.mode.value, response.status_code]
    with open(LOG, "a", encoding="utf-8") as log:
        log.write(json.dumps(line) + "\n")
