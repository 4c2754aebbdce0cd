"""The service of examples/api on this machine, behind the standard library."""

from __future__ import annotations

import importlib.util
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

FILE = Path(__file__).parents[1] / "examples" / "api" / "service.py"


def example() -> Any:
    """The module examples/api/service.py."""
    if "example_service" not in sys.modules:
        spec = importlib.util.spec_from_file_location("example_service", FILE)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["example_service"] = module
        spec.loader.exec_module(module)
    return sys.modules["example_service"]


class Loopback:
    """Serves until `stop`."""

    def __init__(self, service: Any) -> None:
        self.service, lock = service, threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with lock:
                    reply = service.reply(body, self.headers.get("Authorization", ""))
                if reply.drop:
                    self.close_connection = True
                    self.connection.close()
                    return
                self.send_response(reply.status)
                size = len(reply.body) if reply.announced is None else reply.announced
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                if reply.endless:
                    self.send_header("Connection", "close")
                else:
                    self.send_header("Content-Length", str(size))
                self.end_headers()
                try:
                    self.wfile.write(reply.body)
                    while reply.endless:
                        self.wfile.write(reply.body)
                except OSError:
                    self.close_connection = True
                if reply.announced is not None:
                    self.close_connection = True

            def log_message(self, *args: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/v1/predict"

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
