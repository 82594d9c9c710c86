"""A DNS server of a few records on loopback, for tests."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset


@contextmanager
def dns_server(
    address: str, srv: Sequence[tuple[str, str, int]], hosts: Mapping[str, str]
) -> Iterator[None]:
    """`srv`: name, target and port of each record. Of all other names it says that there are
    none."""
    records: dict[tuple[str, int], dns.rrset.RRset] = {}
    for host, ip in hosts.items():
        records[host, dns.rdatatype.A] = dns.rrset.from_text(host, 60, "IN", "A", ip)
    for name in {name for name, _, _ in srv}:
        records[name, dns.rdatatype.SRV] = dns.rrset.from_text(
            name, 60, "IN", "SRV",
            *(f"0 0 {port} {target}" for one, target, port in srv if one == name))
    names = {name for name, _ in records}
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((address, 53))

    def serve() -> None:
        while True:
            data, client = server.recvfrom(4096)
            if not data:
                return
            query = dns.message.from_wire(data)
            answer = dns.message.make_response(query)
            answer.flags |= dns.flags.AA | dns.flags.RA
            question = query.question[0]
            name = question.name.to_text().lower()
            found = records.get((name, question.rdtype))
            if found is not None:
                answer.answer.append(found)
            elif name not in names:
                answer.set_rcode(dns.rcode.NXDOMAIN)
            server.sendto(answer.to_wire(), client)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", (address, 53))
        thread.join()
        server.close()
