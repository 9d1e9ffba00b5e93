"""The command `gan-demo`: serves a page on this computer alone that shows samples while their inputs are changed.

The server is bound to 127.0.0.1, answers only requests to that name that its own page or the user makes, and the page
loads nothing from elsewhere. A library for such pages, gradio, was left out: it needs an older Pillow than the one this
project is tested with, and brings fonts, analytics and an upload of its own.
"""

from __future__ import annotations

import html
import sys
import threading
import webbrowser
from collections.abc import Callable
from email.message import Message
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from gan_cli.config.options.commands import DemoConfig
from gan_cli.demo.page import page_of, page_policy
from gan_cli.demo.shown_image import parse_request, png_of
from gan_cli.device import build_device, limit_threads
from gan_cli.errors import GanCliError, UsageError, one_line
from gan_cli.sampling.directions import Directions, read_directions
from gan_cli.sampling.load_generator import LoadedGenerator, load_generator

HOST = "127.0.0.1"
LONGEST_QUERY = 4096  # characters
TIMEOUT = 30.0  # seconds that a silent connection is kept
Draw = Callable[[dict[str, str]], bytes]


def demo(config: DemoConfig) -> int:
    """Serves the page until the command is stopped, then returns the exit code 0.

    Raises UsageError if the port is in use, or if the generator makes no images from latents.
    """
    assert config.ckpt is not None  # `check_named_files` has seen to it
    limit_threads()
    generator = load_generator(config.ckpt, ema=config.ema, device=build_device(config.device))
    _require_images_from_latents(generator)
    directions = None if config.direction is None else read_directions(generator, config.direction)
    with build_server(generator, directions, config.port) as server:
        address = f"http://{HOST}:{server.server_port}/"
        print(f"{address}  (Ctrl-C stops it)", flush=True)
        if config.browser:  # the socket listens already; a browser in the terminal returns when it is closed
            threading.Thread(target=_open_browser, args=(address,), daemon=True).start()
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return 0
    return 0


def _open_browser(address: str) -> None:
    try:
        opened = webbrowser.open(address)
    except webbrowser.Error:
        opened = False
    if not opened:
        print(f"browser=true: no browser was found here, open {address} yourself", file=sys.stderr, flush=True)


def build_server(generator: LoadedGenerator, directions: Directions | None, port: int) -> ThreadingHTTPServer:
    """Returns the server, bound to its port; 0 is any free one. Raises UsageError if the port cannot be had."""
    lock = threading.Lock()

    def draw(query: dict[str, str]) -> bytes:
        with lock:  # one image at a time uses all threads
            return png_of(generator, directions, parse_request(query))

    handler = partial(_Handler, draw, page_of(generator, directions).encode(), page_policy())
    try:
        return _Server((HOST, port), handler)
    except OSError as error:
        reason = one_line(error.strerror or error, 100)
        raise UsageError(f"port={port}: cannot be used ({reason}), choose another, or 0 for a free one") from error


def _require_images_from_latents(generator: LoadedGenerator) -> None:
    if generator.has_image_input or not generator.latent.dim:
        raise UsageError("this generator makes images from images, use gan-sample ckpt=RUN input=photo.png")
    if len(generator.sample_shape) != 3:
        raise UsageError("this generator makes points, use gan-sample ckpt=RUN format=walk")


def names_this_computer(host: str, port: int) -> bool:
    """Whether the field Host of a request names the server at this port. Browsers leave out the port 80."""
    ends = (f":{port}", "") if port == 80 else (f":{port}",)
    return host in [name + end for name in (HOST, "localhost") for end in ends]


def is_of_own_page(headers: Message, path: str, port: int) -> bool:
    """Whether a request comes from the server's own page or from the user, by the headers that browsers add.

    Another site may lead to the page by a link, but not show it within a page of its own, and have no images. Programs
    that are no browsers send none of these headers.
    """
    origin, site = headers.get("Origin"), headers.get("Sec-Fetch-Site", "none")
    scheme, _, host = (origin or "").partition("://")
    if origin is not None and not (scheme == "http" and names_this_computer(host, port)):
        return False
    follows_link = headers.get("Sec-Fetch-Mode") == "navigate" and headers.get("Sec-Fetch-Dest") == "document"
    return site in ("same-origin", "none") or (follows_link and path == "/")


class _Server(ThreadingHTTPServer):
    """The server. A browser that closes a connection before it has its answer is no error."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """Answers `GET /` with the page and `GET /sample.png?seed=0` with an image, or one line on what is wrong.

    `HEAD` has the same answers without their content, and other methods are refused.
    """

    timeout = TIMEOUT
    server_version, sys_version = "gan-demo", ""

    def __init__(self, draw: Draw, page: bytes, policy: str, *connection: object) -> None:
        self.draw, self.page, self.policy = draw, page, policy
        super().__init__(*connection)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        if not self._is_for_this_computer():
            self._answer(HTTPStatus.FORBIDDEN, "text/plain", b"only requests to 127.0.0.1 are answered")
            return
        try:
            path, query = urlsplit(self.path)[2:4]
        except ValueError as error:
            self._answer(HTTPStatus.BAD_REQUEST, "text/plain", one_line(f"no address: {error}", 400).encode())
            return
        if not is_of_own_page(self.headers, path, self.connection.getsockname()[1]):
            self._answer(HTTPStatus.FORBIDDEN, "text/plain", b"only requests of the page itself are answered")
        elif path == "/":
            self._answer(HTTPStatus.OK, "text/html", self.page)
        elif path == "/sample.png":
            self._answer_image(query)
        else:
            self._answer(HTTPStatus.NOT_FOUND, "text/plain", f"nothing at {html.escape(path)}".encode())

    do_HEAD = do_GET

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answers what no method of this class does: other methods than GET and HEAD, and what is no HTTP."""
        if code == HTTPStatus.NOT_IMPLEMENTED:
            self._answer(HTTPStatus.METHOD_NOT_ALLOWED, "text/plain", b"only GET and HEAD are answered")
        else:
            super().send_error(code, message, explain)

    def _is_for_this_computer(self) -> bool:
        """Whether the request names this server. A page of another site whose name leads here does not."""
        return names_this_computer(self.headers.get("Host", ""), self.connection.getsockname()[1])

    def _answer_image(self, query: str) -> None:
        try:
            if len(query) > LONGEST_QUERY:
                raise UsageError(f"a query of {len(query):,} characters, at most {LONGEST_QUERY:,}")
            image = self.draw(dict(parse_qsl(query, keep_blank_values=True)))
        except GanCliError as error:
            self._answer(HTTPStatus.BAD_REQUEST, "text/plain", one_line(error, 400).encode())
        except (MemoryError, RuntimeError) as error:
            self._answer(HTTPStatus.INTERNAL_SERVER_ERROR, "text/plain", one_line(error, 400).encode())
        else:
            self._answer(HTTPStatus.OK, "image/png", image)

    def _answer(self, status: HTTPStatus, kind: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind if kind.startswith("image") else f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        if status == HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET, HEAD")
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        if kind == "text/html":
            self.send_header("Content-Security-Policy", self.policy)
            self.send_header("X-Frame-Options", "DENY")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *values: object) -> None:
        """Prints nothing: the page shows what goes wrong."""
