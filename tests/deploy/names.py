"""A name server on loopback that knows a few names, for tests in a network of their own."""

import socket
import struct
import threading

# What fits into a datagram, unless the question says that more does.
DATAGRAM = 512

TYPE_A = 1


def parse(question):
    """The name and the type that a question is about, and where it ends."""
    labels, at = [], 12
    while question[at]:
        labels.append(question[at + 1 : at + 1 + question[at]].decode("ascii"))
        at += question[at] + 1
    return ".".join(labels), struct.unpack_from(">H", question, at + 1)[0], at + 5


def answer(question, known, limit):
    """The reply to a question: all addresses of the name, or that they do not fit."""
    name, kind, end = parse(question)
    addresses = known.get(name, []) if kind == TYPE_A else []
    # An authoritative answer; the last bits say that there is no such name.
    flags = 0x8580 | (0 if name in known else 3)
    records = b"".join(
        b"\xc0\x0c" + struct.pack(">HHIH", TYPE_A, 1, 5, 4) + socket.inet_aton(address) for address in addresses
    )
    if end + len(records) > limit:
        flags, records, addresses = flags | 0x200, b"", []
    head = question[:2] + struct.pack(">HHHHH", flags, 1, len(addresses), 0, 0)
    return head + question[12:end] + records


def receive(stream, count):
    """So many bytes, or fewer at the end."""
    data = b""
    while len(data) < count and (more := stream.recv(count - len(data))):
        data += more
    return data


def serve_stream(stream, known):
    """Answers the questions on a connection, which may be several."""
    with stream:
        while len(length := receive(stream, 2)) == 2:
            reply = answer(receive(stream, *struct.unpack(">H", length)), known, 1 << 16)
            stream.sendall(struct.pack(">H", len(reply)) + reply)


def serve(known, address=("127.0.0.1", 53)):
    """Answers with the addresses of these names, for as long as the process lives."""
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.bind(address)
    listener = socket.create_server(address)

    def over_datagrams():
        while True:
            question, client = datagrams.recvfrom(DATAGRAM)
            datagrams.sendto(answer(question, known, DATAGRAM), client)

    def over_streams():
        while True:
            stream, _ = listener.accept()
            threading.Thread(target=serve_stream, args=(stream, known), daemon=True).start()

    for loop in [over_datagrams, over_streams]:
        threading.Thread(target=loop, daemon=True).start()
