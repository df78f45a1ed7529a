"""``fetch.py PORT PATH``: what the HTTP server on this machine's loopback address answers, its headers left out."""

import socket
import sys

if __name__ == "__main__":
    port, path = sys.argv[1:]
    with socket.create_connection(("127.0.0.1", int(port)), timeout=10) as connection:
        connection.sendall(f"GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n".encode("ascii"))
        with connection.makefile("rb") as answer:
            _, _, page = answer.read().partition(b"\r\n\r\n")
    sys.stdout.write(page.decode())
