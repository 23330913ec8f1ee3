"""``python -m tests.bench.smtp.round_trip HOST PORT``: print the milliseconds of some NOOPs."""

import socket
import sys
import time


def main() -> None:
    with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=10) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.recv(512)
        samples = []
        for _ in range(7):
            started = time.perf_counter()
            connection.sendall(b"NOOP\r\n")
            connection.recv(512)
            samples.append((time.perf_counter() - started) * 1000)
        connection.sendall(b"QUIT\r\n")
    print(*samples, flush=True)


if __name__ == "__main__":
    main()
