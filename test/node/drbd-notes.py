#!/usr/bin/python3
"""Somebody's own service on a replicated volume: keeps lines in one file, and says that it has one only after fsync(2).

One request per line on TCP port 7000: `put WORD` is answered by `kept WORD`, `all` by every line of the file and a
single dot.
"""

import os
import socketserver
import threading

FILE = "/srv/data/notes"
PORT = 7000

one_at_a_time = threading.Lock()


class Caller(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True

    def handle(self) -> None:
        for line in self.rfile:
            verb, _, word = line.decode("ascii", "replace").strip().partition(" ")
            if verb == "put" and word:
                keep(word)
                self.wfile.write(f"kept {word}\n".encode())
            elif verb == "all":
                with open(FILE, "rb") as file:
                    self.wfile.write(file.read() + b".\n")
            else:
                self.wfile.write(b"put WORD, or all\n")


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


def keep(word: str) -> None:
    with one_at_a_time:
        descriptor = os.open(FILE, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, f"{word}\n".encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def main() -> None:
    # The file's own name is on the disk before the first line is.
    os.close(os.open(FILE, os.O_WRONLY | os.O_CREAT, 0o600))
    directory = os.open(os.path.dirname(FILE), os.O_RDONLY)
    os.fsync(directory)
    os.close(directory)
    with Server(("", PORT), Caller) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()
