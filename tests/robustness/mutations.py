"""Seeded damage to files of every kind: of their bytes, and of what their bytes mean.

A mutation is ``(rng, bytes) -> bytes``. Those of a format take it apart, change one thing that a
reader relies on, and put it together again; what cannot be taken apart is damaged as bytes are.
"""

from __future__ import annotations

import copy
import hashlib
import io
import json
import struct
import tarfile
import tomllib
import zipfile
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Mutation = Callable[[np.random.Generator, bytes], bytes]
HUGE = (0, 1, -1, 255, 65_535, 2**31 - 1, -(2**31), 10**9, 10**12)
TEXTS = (
    "",
    "\x1b[2J\x1b]0;x\x07",
    "a" * 5000,
    "../../../etc/passwd",
    "\u202e{{7*7}}<script>",
    "%s%n",
)
VALUES: tuple[Any, ...] = (None, True, -1, 0, 1e308, 2**63, 10**12, [], {}, [[[[]]]], *TEXTS)
DEEP = 5000


def pick(rng: np.random.Generator, rows: Sequence[Any]) -> Any:
    """One of some rows."""
    return rows[int(rng.integers(len(rows)))]


# Bytes.
def flip_bits(rng: np.random.Generator, data: bytes) -> bytes:
    """One to eight flipped bits."""
    changed = bytearray(data)
    for place in rng.integers(0, max(1, len(data)), int(rng.integers(1, 9))):
        if changed:
            changed[place] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def overwrite(rng: np.random.Generator, data: bytes) -> bytes:
    """A run of other bytes: zeros, ones or noise."""
    changed = bytearray(data)
    start, count = int(rng.integers(0, max(1, len(data)))), int(rng.integers(1, 257))
    fill = pick(rng, (bytes(count), b"\xff" * count, rng.bytes(count)))
    changed[start : start + count] = fill
    return bytes(changed[: len(data)])


def cut(rng: np.random.Generator, data: bytes) -> bytes:
    """The beginning alone."""
    return data[: int(rng.integers(0, max(1, len(data))))]


def insert(rng: np.random.Generator, data: bytes) -> bytes:
    """Bytes that do not belong there, which moves the rest."""
    place = int(rng.integers(0, len(data) + 1))
    return data[:place] + rng.bytes(int(rng.integers(1, 65))) + data[place:]


def repeat(rng: np.random.Generator, data: bytes) -> bytes:
    """A part that stands there twice."""
    start, end = sorted(int(place) for place in rng.integers(0, len(data) + 1, 2))
    return data[:end] + data[start:end] + data[end:]


def set_word(rng: np.random.Generator, data: bytes) -> bytes:
    """An aligned 32-bit word with a value at the edge: offsets and lengths are such words."""
    changed = bytearray(data)
    if len(data) < 8:
        return data
    place = 4 * int(rng.integers(0, len(data) // 4))
    value = pick(rng, (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, len(data), len(data) * 4, place))
    changed[place : place + 4] = struct.pack("<I", value & 0xFFFFFFFF)
    return bytes(changed[: len(data)])


def foreign(rng: np.random.Generator, data: bytes) -> bytes:
    """Something else altogether."""
    return pick(rng, (b"", b"no file of this kind\n", rng.bytes(4000), bytes(4000), data[:8] * 300))


BYTES: tuple[Mutation, ...] = (flip_bits, overwrite, cut, insert, repeat, set_word, foreign)


# The marker of a seal.
def damage_marker(rng: np.random.Generator, data: bytes) -> bytes:
    """One flipped bit in the marker of the seal."""
    marker = b"edgevit-seal-sha256:"
    place = data.index(marker) + int(rng.integers(len(marker)))
    changed = bytearray(data)
    changed[place] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def strip_seal(data: bytes) -> bytes:
    """The same file as another tool would write it: nothing in it says edgevit."""
    return data.replace(b"edgevit", b"foreign")


# Documents.
def _places(value: Any) -> list[tuple[Any, Any]]:
    """(container, key) of everything in a document."""
    found: list[tuple[Any, Any]] = []
    queue = [value]
    while queue:
        outer = queue.pop()
        keys = list(outer) if isinstance(outer, dict) else range(len(outer))
        for key in keys:
            found.append((outer, key))
            if isinstance(outer[key], (dict, list)):
                queue.append(outer[key])
    return found


def change_document(rng: np.random.Generator, document: Any) -> Any:
    """A document with one to three fields lost, of another type, or of an absurd value."""
    for _ in range(int(rng.integers(1, 4))):
        places = _places(document) if isinstance(document, (dict, list)) else []
        if not places:
            return copy.deepcopy(pick(rng, VALUES))
        outer, key = pick(rng, places)
        if isinstance(outer, dict) and rng.random() < 0.3:
            del outer[key]
        elif isinstance(outer[key], (int, float)) and rng.random() < 0.6:
            outer[key] = pick(rng, HUGE)
        else:
            outer[key] = copy.deepcopy(pick(rng, VALUES))
    return document


def nest(rng: np.random.Generator, data: bytes) -> bytes:
    """A document that is nested too deeply for a stack."""
    depth = pick(rng, (150, 900, DEEP))
    opened, closed = pick(rng, (("[", "]"), ('{"a":', "}")))
    return (opened * depth + "1" + closed * depth).encode()


def change_json(rng: np.random.Generator, data: bytes) -> bytes:
    """JSON that is whole, and says something else."""
    return json.dumps(change_document(rng, json.loads(data))).encode()


def retype_json(rng: np.random.Generator, data: bytes) -> bytes:
    """JSON of another type at the root, or with numbers that JSON has not."""
    return pick(rng, (b"[]", b"null", b"1", b'"x"', b"NaN", b"[1e999]", b"{}", b"9" * 5000))


JSON: tuple[Mutation, ...] = (change_json, change_json, change_json, nest, retype_json, cut)


# TOML.
def _write_toml(value: Any) -> str:
    """A value as TOML writes it in a line."""
    if isinstance(value, dict):
        rows = (f"{json.dumps(str(key))} = {_write_toml(inner)}" for key, inner in value.items())
        return "{ " + ", ".join(rows) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_write_toml, value)) + "]"
    return '""' if value is None else json.dumps(value).replace("NaN", "nan").replace("Inf", "inf")


def change_toml(rng: np.random.Generator, data: bytes) -> bytes:
    """TOML that is whole, and says something else."""
    table = change_document(rng, tomllib.loads(data.decode()))
    rows = table.items() if isinstance(table, dict) else [("x", table)]
    return "".join(f"{json.dumps(key)} = {_write_toml(value)}\n" for key, value in rows).encode()


def nest_toml(rng: np.random.Generator, data: bytes) -> bytes:
    """Lists, tables or keys inside one another."""
    depth = pick(rng, (150, 900, DEEP))
    deep = pick(
        rng,
        (
            "targets = " + "[" * depth + "]" * depth,
            "[limits]\nmemory = " + "{a = " * depth + "1" + "}" * depth,
            "[" + "a." * depth + "a]\nb = 1",
            "a." * depth + "a = 1",
            "[defaults.options]\nfold = " + "[" * depth + "]" * depth,
        ),
    )
    return deep.encode() if rng.random() < 0.5 else data + b"\n" + deep.encode()


def lengthen_toml(rng: np.random.Generator, data: bytes) -> bytes:
    """Enormous lists, texts and numbers."""
    many = int(pick(rng, (1_000, 100_000)))
    rows = pick(
        rng,
        (
            "".join(f'[[model]]\nsource = "n{n}.keras"\n' for n in range(many)),
            '[[model]]\nsource = "a.keras"\n' * many,
            '[[exclude]]\nmodel = "*a*a*a*a*a*b"\n' * many,
            '[[target]]\nname = "onnx-*"\n' * many,
            '[[model]]\nsource = "a.keras"\ntargets = [' + '"all",' * many + "]\n",
            '[[model]]\nsource = "' + "a" * many * 10 + '"\n',
            "[[model]]\nlimit = " + "9" * many + "\n",
            "".join(f"k{n} = {n}\n" for n in range(many)),
        ),
    )
    return rows.encode() if rng.random() < 0.3 else data + rows.encode()


def name_hostile_sources(rng: np.random.Generator, data: bytes) -> bytes:
    """Patterns that fit a whole disk, devices, other folders, and names that are none."""
    names = (
        *("/**", "/*", "/**/*", "/proc/**", "**/../**/*", "**/**/**/**/*", "[", "[!", "*" * 5000),
        *("/dev/zero", "/dev/stdin", "../../secret.bin", "/etc/shells", "~root/*", "$HOME/**", "."),
        *("", " ", "..", "\\u0000", "a" * 5000, "\\u001b[2J", "$NOPE", "http://localhost/a.keras"),
    )
    name, field = pick(rng, names), pick(rng, ("source", "source", "calibration", "depends"))
    value = f'["{name}"]' if field == "depends" else f'"{name}"'
    source = "" if field == "source" else 'source = "missing.keras"\n'
    return f'targets = ["all"]\n[[model]]\n{source}{field} = {value}\n'.encode()


def limit_oddly(rng: np.random.Generator, data: bytes) -> bytes:
    """Limits that are no limits."""
    key = pick(rng, ("seconds", "memory", "threads"))
    values = ("nan", "inf", "-1", "0", "1e308", "10" * 30, '"1e999 GB"', '"-1 GB"', "[]", "true")
    more = f"[limits]\n{key} = {pick(rng, values)}\n".encode()
    return data.replace(b'[limits]\nseconds = 60\nmemory = "4 GB"\n', more)


TOML: tuple[Mutation, ...] = (
    *(change_toml, change_toml, change_toml, nest_toml, lengthen_toml),
    *(name_hostile_sources, name_hostile_sources, limit_oddly, cut),
)


# Arrays that are kept in the cache.
def forge_entry(rng: np.random.Generator, data: bytes) -> bytes:
    """An entry that holds other arrays, or none, and whose digest is right."""
    rows = NPZ if rng.random() < 0.7 else BYTES
    try:
        body = pick(rng, rows)(rng, data[32:])
    except ValueError:  # names of outputs are no numbers
        body = pick(rng, BYTES)(rng, data[32:])
    return hashlib.sha256(body).digest() + body


# TFLite.
def _tflite(change: Callable[[np.random.Generator, Any], None]) -> Mutation:
    def mutate(rng: np.random.Generator, data: bytes) -> bytes:
        from edgevit.formats.tflite.runtime.file import pack_model, parse_model

        model = parse_model(data, "mutated")
        change(rng, model)
        return pack_model(model)

    mutate.__name__ = change.__name__
    return mutate


def _graph(rng: np.random.Generator, model: Any) -> Any:
    return pick(rng, model.subgraphs)


@_tflite
def index_tensors(rng, model):
    """An operator that reads or writes a tensor which is not there."""
    operator = pick(rng, _graph(rng, model).operators)
    side = pick(rng, ("inputs", "outputs"))
    indices = np.array(getattr(operator, side), np.int32)
    indices[int(rng.integers(len(indices)))] = pick(rng, (-2, -1, 100_000, 2**31 - 1, 0))
    setattr(operator, side, indices)


@_tflite
def index_codes(rng, model):
    """An operator of a kind which is not there."""
    pick(rng, _graph(rng, model).operators).opcodeIndex = pick(rng, (999, 2**31 - 1, 0))


@_tflite
def index_buffers(rng, model):
    """A tensor whose values lie in a buffer which is not there, or in another's."""
    tensor = pick(rng, _graph(rng, model).tensors)
    tensor.buffer = pick(rng, (99_999, 2**31 - 1, 0, 1))


@_tflite
def drop_operators(rng, model):
    """A graph without operators."""
    _graph(rng, model).operators = pick(rng, (None, []))


@_tflite
def drop_graph(rng, model):
    """A file without a graph, without tensors, or without operator codes."""
    what = pick(rng, ("subgraphs", "tensors", "operatorCodes", "inputs", "outputs"))
    owner = model if hasattr(model, what) else _graph(rng, model)
    setattr(owner, what, [])


@_tflite
def reshape_tensor(rng, model):
    """A tensor of another shape, or of an absurd one."""
    tensor = pick(rng, _graph(rng, model).tensors)
    shape = np.array(tensor.shape if tensor.shape is not None else [], np.int32)
    if shape.size:
        shape[int(rng.integers(shape.size))] = pick(rng, (0, -1, 2**31 - 1, 1_000_000, 7))
    tensor.shape = shape


@_tflite
def retype_tensor(rng, model):
    """A tensor of another element type."""
    pick(rng, _graph(rng, model).tensors).type = int(rng.integers(0, 20))


@_tflite
def call_itself(rng, model):
    """An operator that calls a graph, perhaps its own."""
    from edgevit.formats.tflite.runtime.file import read_schema

    schema = read_schema()
    code = schema.OperatorCodeT()
    code.builtinCode = pick(
        rng,
        (schema.BuiltinOperator.WHILE, schema.BuiltinOperator.IF, 144),  # 144: CALL_ONCE
    )
    code.deprecatedBuiltinCode = min(code.builtinCode, 127)
    code.version = 1
    model.operatorCodes.append(code)
    operator = pick(rng, _graph(rng, model).operators)
    operator.opcodeIndex = len(model.operatorCodes) - 1
    kinds = {119: "WhileOptions", 118: "IfOptions", 144: "CallOnceOptions"}
    name = kinds.get(code.builtinCode, "WhileOptions")
    operator.builtinOptionsType = getattr(schema.BuiltinOptions, name)
    operator.builtinOptions = getattr(schema, f"{name}T")()


@_tflite
def change_quantization(rng, model):
    """Scales and zero points that make no sense."""
    held = [t for t in _graph(rng, model).tensors if t.quantization is not None]
    if not held:
        return
    found = pick(rng, held).quantization
    found.scale = np.array(pick(rng, ([], [0.0], [float("nan")], [-1.0], [1e30] * 3)), np.float32)
    found.zeroPoint = np.array(pick(rng, ([], [2**40], [-300], [0] * 3)), np.int64)
    found.quantizedDimension = pick(rng, (0, 99, -1))


@_tflite
def name_oddly(rng, model):
    """Names with control characters, none, or no text."""
    tensor = pick(rng, _graph(rng, model).tensors)
    tensor.name = pick(rng, (None, b"\xff\xfe", *TEXTS))


@_tflite
def change_metadata(rng, model):
    """Documents inside that are nested, cut or of another type."""
    if not model.metadata:
        return
    entry = pick(rng, model.metadata)
    content = bytes(np.asarray(model.buffers[entry.buffer].data, np.uint8).tobytes())
    try:
        changed = pick(rng, JSON)(rng, content)
    except ValueError:
        changed = cut(rng, content)
    model.buffers[entry.buffer].data = np.frombuffer(changed, np.uint8)


TFLITE: tuple[Mutation, ...] = (
    *(index_tensors, index_codes, index_buffers, drop_operators, drop_graph, reshape_tensor),
    *(retype_tensor, call_itself, change_quantization, name_oddly, change_metadata),
)


# ONNX.
def _onnx(change: Callable[[np.random.Generator, Any], None]) -> Mutation:
    def mutate(rng: np.random.Generator, data: bytes) -> bytes:
        import onnx

        model = onnx.load_from_string(data)
        change(rng, model)
        return bytes(model.SerializeToString())

    mutate.__name__ = change.__name__
    return mutate


@_onnx
def rename_edges(rng, model):
    """A node that reads what nobody writes, or what it writes itself."""
    node = pick(rng, model.graph.node)
    node.input[int(rng.integers(len(node.input)))] = pick(rng, ("nowhere", "", node.output[0]))


@_onnx
def change_op(rng, model):
    """Another operator, of this domain or another."""
    node = pick(rng, model.graph.node)
    node.op_type = pick(rng, ("Loop", "If", "Nothing", "Expand", "Transpose", "StringNormalizer"))
    node.domain = pick(rng, ("", "", "com.example"))


@_onnx
def expand_hugely(rng, model):
    """An Expand to gigabytes in front of an output."""
    from onnx import helper

    output = model.graph.output[0].name
    sizes = pick(rng, ([40_000, 40_000], [1, 1_500_000_000], [100_000_000, 16]))
    shape = helper.make_tensor("huge_shape", 7, [2], sizes)
    model.graph.initializer.append(shape)
    one = helper.make_tensor("one", 1, [1, 1], [1.0])
    model.graph.initializer.append(one)
    model.graph.node.append(helper.make_node("Expand", ["one", "huge_shape"], ["huge"]))
    model.graph.output.append(helper.make_tensor_value_info("huge", 1, ["a", "b"]))
    assert output


@_onnx
def reshape_initializer(rng, model):
    """A constant that declares more values than it has."""
    tensor = pick(rng, model.graph.initializer)
    if tensor.dims:
        tensor.dims[int(rng.integers(len(tensor.dims)))] = pick(rng, HUGE)


@_onnx
def point_outside(rng, model):
    """A constant whose values lie in a file elsewhere."""
    tensor = pick(rng, model.graph.initializer)
    tensor.ClearField("raw_data")
    tensor.data_location = 1
    entry = tensor.external_data.add()
    entry.key = "location"
    entry.value = pick(rng, ("../secret.bin", "/etc/passwd", "missing.bin", "\x00", "a" * 5000))


@_onnx
def take_text(rng, model):
    """An input of text."""
    model.graph.input[0].type.tensor_type.elem_type = pick(rng, (8, 8, 14, 999))


@_onnx
def drop_parts(rng, model):
    """A graph without nodes, inputs, outputs, or versions."""
    what = pick(rng, ("node", "input", "output", "initializer", "opset"))
    if what == "opset":
        del model.opset_import[:]
    else:
        del getattr(model.graph, what)[:]


@_onnx
def version_oddly(rng, model):
    """Versions that do not exist."""
    if rng.random() < 0.5:
        model.ir_version = pick(rng, (0, 999, 2**31))
    for entry in model.opset_import:
        entry.version = pick(rng, (0, 1, 999, 2**31))


@_onnx
def free_shape(rng, model):
    """An input of another shape: free, empty or absurd."""
    dims = model.graph.input[0].type.tensor_type.shape.dim
    for dim in dims:
        if rng.random() < 0.5:
            dim.dim_value = pick(rng, (0, -1, 1_000_000, 10**12, 3))


@_onnx
def change_props(rng, model):
    """Documents inside that are nested, cut or of another type."""
    if not model.metadata_props:
        return
    prop = pick(rng, model.metadata_props)
    try:
        prop.value = pick(rng, JSON)(rng, prop.value.encode()).decode()
    except ValueError:
        prop.value = pick(rng, TEXTS)


@_onnx
def nest_graphs(rng, model):
    """Graphs inside one another."""
    from onnx import helper

    inner = helper.make_graph([], "inner", [], [])
    for number in range(pick(rng, (5, 40))):
        node = helper.make_node("If", ["c"], [f"o{number}"], then_branch=inner, else_branch=inner)
        inner = helper.make_graph([node], f"g{number}", [], [])
        if inner.ByteSize() > 1 << 20:
            break
    model.graph.node.extend(inner.node)


ONNX: tuple[Mutation, ...] = (
    *(rename_edges, change_op, expand_hugely, reshape_initializer, point_outside, take_text),
    *(drop_parts, version_oddly, free_shape, change_props, nest_graphs),
)


# Zip archives: .keras, npz, datasets.
def _repack(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def _unpack(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def change_member(rng: np.random.Generator, data: bytes) -> bytes:
    """One member of a zip damaged or lost."""
    members = _unpack(data)
    name = pick(rng, sorted(members))
    if rng.random() < 0.25:
        del members[name]
    elif name.endswith(".json"):
        members[name] = pick(rng, JSON)(rng, members[name])
    else:
        members[name] = pick(rng, BYTES)(rng, members[name])
    return _repack(members)


def add_member(rng: np.random.Generator, data: bytes) -> bytes:
    """A member that lies outside, or unpacks to gigabytes of nothing."""
    members = _unpack(data)
    name = pick(rng, ("../outside.txt", "/outside.txt", "C:/outside.txt", "train/a/big.png"))
    members[name] = bytes(1 << 20)
    return _repack(members)


def lie_about_size(rng: np.random.Generator, data: bytes) -> bytes:
    """A zip whose directory says other sizes."""
    changed = bytearray(data)
    place = data.rfind(b"PK\x01\x02")
    if place < 0:
        return data
    offset = place + pick(rng, (20, 24, 42))
    changed[offset : offset + 4] = struct.pack("<I", pick(rng, (0, 1, 0x7FFFFFFF, 0xFFFFFFFE)))
    return bytes(changed)


ZIP: tuple[Mutation, ...] = (change_member, change_member, add_member, lie_about_size)


def change_keras_config(rng: np.random.Generator, data: bytes) -> bytes:
    """A .keras file whose config says something else."""
    members = _unpack(data)
    members["config.json"] = change_json(rng, members["config.json"])
    return _repack(members)


def grow_keras(rng: np.random.Generator, data: bytes) -> bytes:
    """A .keras file that declares layers of a billion units, or pictures of a million pixels."""
    members = _unpack(data)
    config = json.loads(members["config.json"])
    numbers = [
        (outer, key)
        for outer, key in _places(config)
        if isinstance(outer.get(key) if isinstance(outer, dict) else outer[key], int)
        and (key in ("units", "filters") or isinstance(outer, list))
    ]
    outer, key = pick(rng, numbers)
    outer[key] = pick(rng, (10**9, 10**6, 2**31, 10**12, 0, -5))
    members["config.json"] = json.dumps(config).encode()
    return _repack(members)


def smuggle_code(rng: np.random.Generator, data: bytes) -> bytes:
    """A .keras file with a Lambda layer, or a class of another module."""
    members = _unpack(data)
    config = json.loads(members["config.json"])
    layer = pick(rng, config["config"]["layers"])
    layer["class_name"] = pick(rng, ("Lambda", "__lambda__", "system", "Popen", "Dense"))
    layer["module"] = pick(rng, ("keras.layers", "os", "subprocess", "builtins", None, 3))
    layer["config"] = pick(rng, ({"name": "x", "function": "touch owned"}, {"value": "4wEAAA=="}))
    members["config.json"] = json.dumps(config).encode()
    return _repack(members)


KERAS: tuple[Mutation, ...] = (
    *(change_member, change_keras_config, change_keras_config, grow_keras, smuggle_code),
    lie_about_size,
)


# npz.
def _npy(header: str, payload: bytes) -> bytes:
    text = header.encode()
    text += b" " * (63 - (len(text) + 10) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + payload


def lie_in_header(rng: np.random.Generator, data: bytes) -> bytes:
    """An array that declares another shape or type than it holds."""
    members = _unpack(data)
    name = pick(rng, sorted(members))
    shape = pick(rng, ("(1000000000000,)", "(-1,)", "(2**40,)", "(10,)*9", "(0,)", "(1,1,1,1,1)"))
    kind = pick(rng, ("'|u1'", "'<f8'", "'|O'", "'<U1000000'", "[('a','<i4')]", "'m8'", "3"))
    members[name] = _npy(
        f"{{'descr': {kind}, 'fortran_order': False, 'shape': {shape}, }}", b"\x80\x03X" * 5
    )
    return _repack(members)


def change_array(rng: np.random.Generator, data: bytes) -> bytes:
    """Arrays of other values, shapes or types."""
    with np.load(io.BytesIO(data)) as found:
        arrays = {name: found[name] for name in found.files}
    name = pick(rng, sorted(arrays))
    values = arrays[name]
    arrays[name] = pick(
        rng,
        (
            values[..., :1],
            values.astype(np.float64) * np.nan,
            values.astype(np.int64) + 10**12,
            -values.astype(np.int64),
            values[:0],
            np.array("text"),
            np.zeros((1, 60_000, 6, 3), np.uint8),
            np.asfortranarray(values),
        ),
    )
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def unpack_to_gigabytes(rng: np.random.Generator, data: bytes) -> bytes:
    """An array of gigabytes of zeros, which is packed to megabytes."""
    members = _unpack(data)
    gigabytes = 3
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            if not name.startswith("x_"):
                archive.writestr(name, content)
        with archive.open("x_test.npy", "w", force_zip64=True) as member:
            member.write(
                _npy(
                    "{'descr': '|u1', 'fortran_order': False, 'shape': "
                    f"({gigabytes * 1024}, 1024, 1024, 1), }}",
                    b"",
                )
            )
            for _ in range(gigabytes * 64):
                member.write(bytes(1 << 24))
    return stream.getvalue()


NPZ: tuple[Mutation, ...] = (lie_in_header, lie_in_header, change_array, change_array, *ZIP)


# safetensors.
def change_header(rng: np.random.Generator, data: bytes) -> bytes:
    """A header that says other shapes, types, offsets or descriptions."""
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    described = header.get("__metadata__", {}).get("edgevit")
    if described and rng.random() < 0.5:
        changed = change_document(rng, json.loads(described))
        header["__metadata__"]["edgevit"] = json.dumps(changed)
    else:
        header = change_document(rng, header)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + length :]


def lie_about_header(rng: np.random.Generator, data: bytes) -> bytes:
    """A header of another length."""
    return struct.pack("<Q", pick(rng, (0, 1, 2**40, 2**63, len(data)))) + data[8:]


SAFETENSORS: tuple[Mutation, ...] = (change_header, change_header, lie_about_header)


# Pictures.
def resize_png(rng: np.random.Generator, data: bytes) -> bytes:
    """A PNG that declares another size, with a right checksum."""
    import zlib

    if data[:4] != b"\x89PNG":
        return flip_bits(rng, data)
    width, height = pick(rng, ((0, 5), (2**31 - 1, 1), (60_000, 60_000), (1, 2**31 - 1), (12, 13)))
    body = b"IHDR" + struct.pack(">II", width, height) + data[24:29]
    return data[:12] + body + struct.pack(">I", zlib.crc32(body)) + data[33:]


def disguise(rng: np.random.Generator, data: bytes) -> bytes:
    """A format that is not read: EPS, which runs, SVG, and others."""
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(owned) (w) file closefile\nshowpage\n"
    svg = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'
    return pick(rng, (eps, svg, b"GIF89a" + rng.bytes(40), b"\x00\x00\x01\x00" + rng.bytes(60)))


def save_oddly(rng: np.random.Generator, data: bytes) -> bytes:
    """The picture in another mode and format."""
    from PIL import Image

    kind = pick(rng, ("PNG", "TIFF", "BMP", "WEBP", "GIF", "PPM", "JPEG"))
    mode = pick(rng, ("1", "L", "P", "RGB", "RGBA", "I", "F", "I;16", "CMYK", "LA"))
    stream = io.BytesIO()
    try:
        picture = Image.open(io.BytesIO(data)).convert("RGB")
        picture.convert(mode if mode != "I;16" else "I").save(stream, kind)
    except (OSError, ValueError, KeyError):
        return flip_bits(rng, data)
    return pick(rng, (stream.getvalue(), flip_bits(rng, stream.getvalue())))


IMAGES: tuple[Mutation, ...] = (resize_png, disguise, save_oddly, save_oddly, *BYTES)


# tar archives of class folders.
def change_tar(rng: np.random.Generator, data: bytes) -> bytes:
    """A tar with a member that points outside, is a link, or claims another size."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        with tarfile.open(fileobj=io.BytesIO(data)) as source:
            for member in source:
                archive.addfile(member, source.extractfile(member))
        info = tarfile.TarInfo(
            pick(rng, ("../outside.png", "/etc/outside.png", "test/a/link.png", "test/a/\x1b.png"))
        )
        info.type = pick(rng, (tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE))
        info.linkname = "../../secret.bin"
        archive.addfile(info)
    return stream.getvalue()


TAR: tuple[Mutation, ...] = (change_tar, change_tar, *BYTES)
