"""``neid serve`` as a process of its own, and what its clients do."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

from tests.conftest import free_ports

PATIENCE = 60


class Server:
    """The command in a process; its log is read as it comes."""

    def __init__(self, *arguments, **environment):
        [self.port] = free_ports(1)
        command = [sys.executable, "-m", "neid_tf.commands.main", "serve", f"--port={self.port}"]
        self.process = subprocess.Popen(
            [*command, "--weights=neid_s", *arguments],
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.log = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.greeting = self.process.stdout.readline()
        assert str(self.port) in self.greeting, self.log

    def _read(self):
        for line in self.process.stderr:
            try:
                self.log.append(json.loads(line))
            except ValueError:
                self.log.append({"event": "no JSON", "line": line})

    def entries(self, event, count=1, **facts):
        """Return the lines of an event with these facts, once there are so many."""
        wanted = {"event": event} | facts
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            found = [line for line in list(self.log) if wanted.items() <= line.items()]
            if len(found) >= count:
                return found
            time.sleep(0.02)
        raise AssertionError(f"no {count} lines of {event!r}: {self.log}")

    @property
    def worker(self):
        """The number of the latest worker's process."""
        lost = int(self.measure("neid_workers_lost"))
        return self.entries("worker ready", lost + 1)[-1]["pid"]

    def connection(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)

    def ask(self, path="/v1/enhance", body=None, method=None, **headers):
        """Return status, headers and content of an answer."""
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        with contextlib.closing(self.connection()) as connection:
            method = method or ("GET" if body is None else "POST")
            connection.request(method, path, body, names)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()

    def begin(self, body):
        """Send a picture, and do not wait for the answer."""
        connection = self.connection()
        connection.request("POST", "/v1/enhance", body)
        return Begun(connection)

    def measure(self, name):
        """Return a measure of ``/metrics``."""
        lines = self.ask("/metrics")[2].decode().splitlines()
        return float(next(line for line in lines if line.startswith(f"{name} ")).split()[-1])

    def wait_for(self, name, value):
        until = time.monotonic() + PATIENCE
        while self.measure(name) != value:
            assert time.monotonic() < until, name
            time.sleep(0.02)

    def open(self):
        """Return a socket that is connected to it."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)

    def raw(self, *parts):
        """Send bytes as they are, and return the first line of the answer."""
        with self.open() as connection:
            for part in parts:
                connection.sendall(part)
            return connection.makefile("rb").readline()

    def stop(self, number=signal.SIGTERM):
        """End it as a service manager does; return the exit code."""
        self.process.send_signal(number)
        code = self.process.wait(PATIENCE)
        self._reader.join()
        self.process.stdout.close()
        self.process.stderr.close()
        return code


class Begun:
    """A picture that was sent."""

    def __init__(self, connection):
        self._connection = connection

    def answer(self):
        """Return status and content of the answer."""
        with contextlib.closing(self._connection):
            answer = self._connection.getresponse()
            return answer.status, answer.read()

    def give_up(self):
        self._connection.close()


@contextlib.contextmanager
def stopped(pid):
    """Let a process do nothing for a while."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def form(content, **fields):
    """Return the body of a form with a file, and its content type."""
    parts = [
        f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    if content is not None:
        head = '--x\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
        parts.append(head.encode() + content + b"\r\n")
    return b"".join([*parts, b"--x--\r\n"]), "multipart/form-data; boundary=x"
