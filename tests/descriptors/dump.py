"""Writes down what the serving API looks like in the official packages.

Our `proto/` is written by hand. This script takes the facts it must agree with
(names, numbers, types) from the PyPI packages tensorflow-serving-api and
tensorflow, and keeps them in tests/fixtures/descriptors.json. It covers both
services and all they reach, so a field that only upstream has does show up. Of
a SavedModel it covers the messages around the signatures, without the graph.

    dump.py             write the file
    dump.py --check     fail if the file differs from the installed packages
    dump.py --ours SET  compare SET, our proto/ as compiled by
                        `protoc --include_imports -o SET`, with the file

A field is [number, label, type, type name, oneof, packed]. The last three are
null where they do not apply. A field marked `optional` has a oneof of its own.
"""

import argparse
import json
import sys
from importlib import metadata
from pathlib import Path

from google.protobuf import descriptor_pb2

TESTS = Path(__file__).resolve().parent.parent
DUMP = TESTS / "fixtures" / "descriptors.json"
TRIMMED = TESTS / "descriptors" / "trimmed.txt"

ROOTS = [
    "tensorflow.serving.PredictionService",
    "tensorflow.serving.ModelService",
    # No field has this type: it travels in an Any.
    "tensorflow.serving.SignatureDefMap",
    # Nor this one: it travels in a string.
    "tensorflow.SequenceExample",
]

# These are of the file of a model: what their fields lead to is not followed.
LEAVES = [
    "tensorflow.SavedModel",
    "tensorflow.MetaGraphDef",
    "tensorflow.MetaGraphDef.MetaInfoDef",
    "tensorflow.MetaGraphDef.SignatureDefEntry",
]

Field = descriptor_pb2.FieldDescriptorProto
UNPACKABLE = {"string", "bytes", "message", "group"}
KINDS = ["messages", "enums", "services"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--ours", type=Path, metavar="SET")
    arguments = parser.parse_args()

    if arguments.ours:
        problems = compare(json.loads(DUMP.read_text()), read_set(arguments.ours), trimmed())
    elif arguments.check:
        same = DUMP.exists() and DUMP.read_text() == upstream()
        problems = [] if same else [f"{DUMP} differs from the installed packages: run dump.py"]
    else:
        DUMP.write_text(upstream())
        problems = []

    for problem in problems:
        print(problem, file=sys.stderr)
    sys.exit(1 if problems else 0)


def upstream():
    """The text of the dump, from the installed packages."""
    from tensorflow.core.protobuf import saved_model_pb2
    from tensorflow_serving.apis import model_service_pb2, prediction_service_pb2

    files = {}

    def collect(file):
        if file.name not in files:
            files[file.name] = descriptor_pb2.FileDescriptorProto()
            file.CopyToProto(files[file.name])
            for dependency in file.dependencies:
                collect(dependency)

    collect(model_service_pb2.DESCRIPTOR)
    collect(prediction_service_pb2.DESCRIPTOR)
    collect(saved_model_pb2.DESCRIPTOR)
    versions = ", ".join(
        f"{package} {metadata.version(distribution)}"
        for package, distribution in [
            ("tensorflow-serving-api", "tensorflow-serving-api"),
            ("tensorflow", "tensorflow-cpu"),
        ]
    )
    return render(versions, reached(declarations(files.values())))


def read_set(path):
    """All declarations in a file that protoc wrote."""
    return declarations(descriptor_pb2.FileDescriptorSet.FromString(path.read_bytes()).file)


def declarations(files):
    """Everything the files declare, by kind and full name."""
    found = {kind: {} for kind in KINDS}

    def enum(declared, scope):
        found["enums"][f"{scope}.{declared.name}"] = {
            value.name: value.number for value in sorted(declared.value, key=lambda v: v.number)
        }

    def message(declared, scope, syntax):
        name = f"{scope}.{declared.name}"
        found["messages"][name] = {
            field.name: describe(field, declared, syntax)
            for field in sorted(declared.field, key=lambda f: f.number)
        }
        for nested in declared.nested_type:
            message(nested, name, syntax)
        for nested in declared.enum_type:
            enum(nested, name)

    for file in files:
        # The well-known types come with every protobuf library.
        if file.package == "google.protobuf":
            continue
        for declared in file.message_type:
            message(declared, file.package, file.syntax)
        for declared in file.enum_type:
            enum(declared, file.package)
        for declared in file.service:
            found["services"][f"{file.package}.{declared.name}"] = {
                method.name: [method.input_type[1:], method.output_type[1:]]
                + ["client stream"] * method.client_streaming
                + ["server stream"] * method.server_streaming
                for method in declared.method
            }
    return found


def describe(field, message, syntax):
    """One field as the list that the head of this file explains."""
    label = Field.Label.Name(field.label).removeprefix("LABEL_").lower()
    kind = Field.Type.Name(field.type).removeprefix("TYPE_").lower()
    packed = None
    if label == "repeated" and kind not in UNPACKABLE:
        explicit = field.options.HasField("packed")
        packed = field.options.packed if explicit else syntax == "proto3"
    oneof = message.oneof_decl[field.oneof_index].name if field.HasField("oneof_index") else None
    return [field.number, label, kind, field.type_name[1:] or None, oneof, packed]


def reached(found):
    """Only the declarations that the roots lead to.

    A message leads to the types of its fields, to what is declared inside it,
    and to what it is declared in.
    """
    messages, enums, services = (found[kind] for kind in KINDS)
    everything = [*messages, *enums, *services]
    seen = set(LEAVES)
    pending = list(ROOTS)
    while pending:
        name = pending.pop()
        if name in seen or name.startswith("google.protobuf."):
            continue
        seen.add(name)
        pending += [field[3] for field in messages.get(name, {}).values() if field[3]]
        pending += [kind for method in services.get(name, {}).values() for kind in method[:2]]
        pending += [other for other in everything if other.startswith(name + ".")]
        outer = name.rpartition(".")[0]
        if outer in messages:
            pending.append(outer)
    return {kind: {n: found[kind][n] for n in found[kind] if n in seen} for kind in KINDS}


def render(source, found):
    """JSON with one line a declaration, sorted by name."""
    sections = []
    for kind in KINDS:
        lines = [f"  {json.dumps(n)}: {json.dumps(found[kind][n])}" for n in sorted(found[kind])]
        sections.append(f"{json.dumps(kind)}: {{\n" + ",\n".join(lines) + "\n}")
    return f'{{"source": {json.dumps(source)},\n' + ",\n".join(sections) + "}\n"


def trimmed():
    """The names of the messages that we declare in part or not at all."""
    lines = (line.strip() for line in TRIMMED.read_text().splitlines())
    return {line.split(":")[0] for line in lines if line and not line.startswith("#")}


def compare(theirs, ours, excused):
    """Every difference in words; what `excused` messages lack is none."""
    problems = []
    for kind in KINDS:
        for name in sorted({*theirs[kind], *ours[kind]}):
            if name not in theirs[kind]:
                problems.append(f"{name}: upstream has none, or no call reaches it")
            elif name not in ours[kind]:
                if name not in excused:
                    problems.append(f"{name}: missing in proto/")
            else:
                problems += members(name, theirs[kind][name], ours[kind][name], name in excused)
    return problems


def members(name, theirs, ours, excused):
    """The differences within one declaration."""
    problems = []
    for member in [*theirs, *(extra for extra in ours if extra not in theirs)]:
        if member not in ours and excused:
            continue
        if theirs.get(member) != ours.get(member):
            problems.append(
                f"{name}.{member}: upstream {theirs.get(member)}, proto/ {ours.get(member)}"
            )
    return problems


if __name__ == "__main__":
    main()
