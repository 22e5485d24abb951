"""A name server on this machine that answers from a list, over UDP, for tests."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import dns.flags
import dns.message
import dns.rcode
import dns.rrset


@contextmanager
def name_server(records: dict[tuple[str, str], list[str]]) -> Iterator[int]:
    """Its port. `records` tells the answers to (name, type); other names do not exist."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 0))
    thread = threading.Thread(target=_serve, args=(server, records))
    thread.start()
    try:
        yield server.getsockname()[1]
    finally:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closing:
            closing.sendto(b"stop", server.getsockname())
        thread.join()
        server.close()


def _serve(server: socket.socket, records: dict[tuple[str, str], list[str]]) -> None:
    while (packet := server.recvfrom(4096))[0] != b"stop":
        query = dns.message.from_wire(packet[0])
        server.sendto(_answer(query, records).to_wire(), packet[1])


def _answer(
    query: dns.message.Message, records: dict[tuple[str, str], list[str]]
) -> dns.message.Message:
    question = query.question[0]
    name = question.name.to_text(omit_final_dot=True)
    kind = question.rdtype.name
    response = dns.message.make_response(query)
    response.flags |= dns.flags.RA
    told = records.get((name, kind))
    if told == ["SERVFAIL"]:
        response.set_rcode(dns.rcode.SERVFAIL)
    elif told:
        response.answer.append(dns.rrset.from_text(f"{name}.", 60, "IN", kind, *told))
    elif not any(known == name for known, _ in records):
        response.set_rcode(dns.rcode.NXDOMAIN)
    return response
