"""The page of gan-demo: its images are those of gan-sample, wrong requests are one line, and it stays local."""

from __future__ import annotations

import http.client
import io
import json
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import webbrowser
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gan_cli.cli.main import run_command
from gan_cli.demo import serve
from gan_cli.demo.serve import build_server, names_this_computer
from gan_cli.demo.shown_image import ImageRequest, parse_request, png_of
from gan_cli.errors import UsageError
from gan_cli.models.generate import latents_from_seeds, run_generator
from gan_cli.models.styles import StyleGenerator
from gan_cli.sampling.directions import Directions
from gan_cli.sampling.load_generator import LoadedGenerator, load_generator, sample
from support.browser import Browser, find_chromium
from support.commands import error_line
from support.configs import TINY_IMAGES
from support.styles import SIDES, STYLE_SIZE, train_toy

CHROMIUM = find_chromium()


@pytest.fixture
def generator(trained: Callable[..., Path]) -> LoadedGenerator:
    return load_generator(trained(*TINY_IMAGES, "conditioning=projection", "steps=3", "name=kinds"))


@pytest.fixture
def address(generator: LoadedGenerator) -> Iterator[str]:
    directions = Directions(torch.eye(8)[:2], ["first", "second"])
    with build_server(generator, directions, 0) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)))


def image_of(generator: LoadedGenerator, directions: Directions | None = None, **fields: object) -> np.ndarray:
    return pixels(png_of(generator, directions, ImageRequest(**fields)))  # type: ignore[arg-type]


def refused(request: str | urllib.request.Request) -> tuple[int, str]:
    """Returns the status and the text of an answer that is an error."""
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request)
    with caught.value as answer:
        return answer.code, answer.read().decode()


def as_shown(samples: torch.Tensor) -> np.ndarray:
    return ((samples[0, 0] + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).numpy()


@pytest.mark.parametrize("truncation", [None, 0.5])
def test_an_image_is_the_sample_of_its_seed_and_class(generator: LoadedGenerator, truncation: float | None) -> None:
    name = generator.classes[1]
    expected = as_shown(sample(generator, [7], name, truncation=truncation))
    assert (image_of(generator, seed=7, label=name, truncation=truncation) == expected).all()
    assert (image_of(generator, seed=3, second=7, mix=1.0, label=name, truncation=truncation) == expected).all()
    assert (image_of(generator, seed=3, label=name) != expected).any()


def test_a_direction_is_added_to_the_latent(generator: LoadedGenerator) -> None:
    steps = torch.randn(2, 8, generator=torch.Generator().manual_seed(0))
    latents = latents_from_seeds([4], generator.latent) - 2 * steps[1]
    labels = torch.nn.functional.one_hot(torch.tensor([0]), len(generator.classes)).float()
    expected = as_shown(run_generator(generator.network, latents, labels))
    shown = image_of(generator, Directions(steps, ["a", "b"]), seed=4, direction=1, strength=-2.0)
    assert (shown == expected).all()


def test_styles_are_mixed_in_the_chosen_layers(
    train: Callable[..., Path], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy = load_generator(train_toy(train, here, monkeypatch))
    network = toy.network
    assert isinstance(network, StyleGenerator)
    with torch.no_grad():
        styles = network.map(latents_from_seeds([0, 1], toy.latent))
        mixed = styles[:1].clone()
        coarse = [layer for layer, side in enumerate(SIDES) if side == min(SIDES)]
        mixed[:, coarse] = styles[1:, coarse]
        expected = as_shown(network.synthesize(mixed))
        mean = as_shown(network.synthesize(network.truncate(styles[:1], 0.5)))
        step = torch.full((1, 1, STYLE_SIZE), 0.1)
        moved = as_shown(network.synthesize(styles[:1] + 3 * step))
    assert (image_of(toy, seed=0, second=1, mix=1.0, layers="coarse") == expected).all()
    assert (image_of(toy, seed=0, truncation=0.5) == mean).all()
    assert (image_of(toy, Directions(step, ["w"]), direction=0, strength=3.0) == moved).all()


@pytest.mark.parametrize(
    ("query", "line"),
    [
        ("seed=-3", "seed=-3: expected a whole number"),
        ("seed=1.5", "seed=1.5: expected a whole number"),
        ("mix=2", "mix=2: expected a number from 0 to 1"),
        ("mix=nan", "mix=nan: expected a number from 0 to 1"),
        ("truncation=-1", "truncation=-1: expected a number from 0.001 to 100"),
        ("truncation=0", "truncation=0: expected a number from 0.001 to 100"),
        ("strength=1", "strength=1: needs a direction"),
        ("label=nothing", "label=nothing: no class of this checkpoint"),
        ("direction=2", "direction=2: there are 2, numbered from 0"),
        ("layers=coarse", "layers=coarse: this generator has no styles"),
        ("layers=top", "layers=top: expected all, coarse, middle, fine"),
        ("sede=1", "sede: unknown, expected seed"),
        ("seed=" + "1" * 5000, "a query of 5,005 characters"),
    ],
)
def test_a_wrong_request_is_one_line(address: str, query: str, line: str) -> None:
    code, text = refused(f"{address}sample.png?{query}")
    assert code == 400
    assert text.startswith(line)
    assert "\n" not in text


@pytest.mark.parametrize("host", ["elsewhere.example", "127.0.0.1", "127.0.0.1:1", ""])
def test_only_requests_to_this_computer_are_answered(address: str, host: str) -> None:
    assert refused(urllib.request.Request(address, headers={"Host": host}))[0] == 403
    assert refused(f"{address}elsewhere")[0] == 404


@pytest.mark.parametrize(
    ("host", "port", "named"),
    [
        ("127.0.0.1", 80, True),  # browsers leave out this port
        ("localhost", 80, True),
        ("127.0.0.1:80", 80, True),
        ("localhost:8000", 8000, True),
        ("127.0.0.1", 8000, False),
        ("localhost", 443, False),
        ("127.0.0.1:80", 8000, False),
        ("elsewhere.example", 80, False),
        ("", 80, False),
    ],
)
def test_the_port_80_need_not_be_named(host: str, port: int, named: bool) -> None:
    assert names_this_computer(host, port) == named


OWN_LINK = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("", {}, 200),
        ("", {"Sec-Fetch-Site": "none", **OWN_LINK}, 200),  # typed by the user
        ("", {"Sec-Fetch-Site": "cross-site", **OWN_LINK}, 200),  # a link of another page
        ("?seed=3", {"Sec-Fetch-Site": "same-site", **OWN_LINK}, 200),
        ("", {"Sec-Fetch-Site": "cross-site", **OWN_LINK, "Sec-Fetch-Dest": "iframe"}, 403),
        ("", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, 403),
        ("sample.png", {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Dest": "image"}, 200),
        ("sample.png", {"Sec-Fetch-Site": "none", **OWN_LINK}, 200),
        ("sample.png", {"Sec-Fetch-Site": "cross-site", **OWN_LINK}, 403),
        ("sample.png", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "image"}, 403),
        ("sample.png", {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Dest": "image"}, 403),  # another port
        ("sample.png", {"Origin": "OWN"}, 200),
        ("sample.png", {"Origin": "http://127.0.0.1:1"}, 403),
        ("sample.png", {"Origin": "http://elsewhere.example"}, 403),
        ("sample.png", {"Origin": "null"}, 403),
        ("", {"Origin": "https://elsewhere.example", **OWN_LINK}, 403),
    ],
)
def test_requests_of_other_sites_are_refused(address: str, path: str, headers: dict[str, str], status: int) -> None:
    own = {name: value.replace("OWN", address.rstrip("/")) for name, value in headers.items()}
    request = urllib.request.Request(f"{address}{path}", headers=own)
    if status == 403:
        assert refused(request) == (403, "only requests of the page itself are answered")
        return
    with urllib.request.urlopen(request) as answer:
        assert answer.status == status


def test_the_page_has_its_policy_as_a_header_and_is_in_no_frame(address: str) -> None:
    with urllib.request.urlopen(address) as answer:
        policy, text = answer.headers["Content-Security-Policy"], answer.read().decode()
        assert answer.headers["X-Frame-Options"] == "DENY"
    (written,) = re.findall('<meta http-equiv="Content-Security-Policy" content="(.*)">', text)
    assert policy == f"{written}; frame-ancestors 'none'"
    assert policy.startswith("default-src 'none'; img-src 'self' blob: data:; connect-src 'self'; style-src 'sha256-")


@pytest.mark.parametrize("outcome", [True, False, webbrowser.Error("none")])
def test_a_browser_is_opened_when_the_server_answers_and_its_absence_is_told(
    generator: LoadedGenerator,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    outcome: bool | Exception,
) -> None:
    """A text browser returns when it is closed, so that the page must be answered before."""
    statuses, done = list[int](), threading.Event()

    def open_page(address: str) -> bool:
        with urllib.request.urlopen(address, timeout=20) as answer:
            statuses.append(answer.status)
        done.set()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def serve_until_seen(server: serve._Server) -> None:
        server.timeout = 1.0
        while not done.is_set():
            server.handle_request()
        opener.join()

    def start(thread: threading.Thread) -> None:
        nonlocal opener
        assert thread.daemon
        opener = opener or thread
        begin(thread)

    opener: threading.Thread | None = None
    begin = threading.Thread.start
    monkeypatch.setattr(threading.Thread, "start", start)
    monkeypatch.setattr(webbrowser, "open", open_page)
    monkeypatch.setattr(serve._Server, "serve_forever", serve_until_seen)
    assert run_command("demo", [str(generator.path.parent.parent), "port=0", "browser=true", "device=cpu"]) == 0
    assert statuses == [200]
    assert ("browser=true: no browser was found here, open http" in capsys.readouterr().err) == (outcome is not True)


@pytest.mark.parametrize("target", ["http://[", "http://[::1", "//[x", "http://[1]2"])
def test_what_is_no_address_is_answered(address: str, target: str, capsys: pytest.CaptureFixture[str]) -> None:
    host = address.split("/")[2]
    with socket.create_connection(host.split(":")) as connection:
        connection.sendall(f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        answer = connection.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.0 400 " if target.startswith("http") else (b"HTTP/1.0 40"))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("reset", [True, False])
def test_a_browser_that_does_not_wait_for_its_answer_is_no_error(
    address: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], reset: bool
) -> None:
    """As when a page is reloaded or closed while its image is drawn."""
    closed, drawn = threading.Event(), threading.Event()

    def draw_slowly(*_: object) -> bytes:
        assert closed.wait(20)
        drawn.set()
        return bytes(20_000_000)  # more than a socket keeps

    monkeypatch.setattr(serve, "png_of", draw_slowly)
    host = address.split("/")[2]
    connection = socket.create_connection(host.split(":"))
    connection.sendall(f"GET /sample.png?seed=1 HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    if reset:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    time.sleep(0.2)
    connection.close()
    closed.set()
    assert drawn.wait(20)
    with urllib.request.urlopen(f"{address}") as answer:
        assert answer.status == 200
    time.sleep(0.2)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("path", ["", "sample.png?seed=3", "sample.png?seed=-3", "elsewhere"])
def test_head_has_the_answer_of_get_without_its_content(address: str, path: str) -> None:
    answers = []
    for method in ("GET", "HEAD"):
        connection = http.client.HTTPConnection(address.split("/")[2])
        connection.request(method, f"/{path}")
        answer = connection.getresponse()
        headers = {name: value for name, value in answer.getheaders() if name != "Date"}
        answers.append((answer.status, headers, answer.read()))
        connection.close()
    assert answers[0][:2] == answers[1][:2]
    assert len(answers[0][2]) == int(answers[0][1]["Content-Length"]) > 0
    assert answers[1][2] == b""


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "QUERY"])
def test_other_methods_are_not_allowed(address: str, method: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(urllib.request.Request(address, method=method))
    with caught.value as answer:
        assert (answer.code, answer.headers["Allow"], answer.read()) == (
            405,
            "GET, HEAD",
            b"only GET and HEAD are answered",
        )


def test_a_query_without_values_has_the_defaults() -> None:
    assert parse_request({"seed": "", "truncation": "", "layers": ""}) == ImageRequest()
    with pytest.raises(UsageError, match="unknown"):
        parse_request({"n": "3"})


def test_the_command_serves_until_it_is_stopped(generator: LoadedGenerator) -> None:
    run = generator.path.parent.parent
    command = [sys.executable, "-m", "gan_cli", "demo", str(run), "port=0", "device=cpu"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        found = re.match(r"http://127\.0\.0\.1:(\d+)/", process.stdout.readline())
        assert found is not None
        with urllib.request.urlopen(f"{found[0]}sample.png?seed=7") as answer:
            assert (pixels(answer.read()) == image_of(generator, seed=7)).all()
        busy = subprocess.run([*command[:-2], f"port={found[1]}"], capture_output=True, text=True, check=False)
        assert (busy.returncode, busy.stderr.count("\n")) == (2, 1)
        assert busy.stderr.startswith(f"gan-demo: port={found[1]}: cannot be used (Address already in use)")
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        assert process.stderr.read() == ""


def test_generators_of_other_things_are_refused(
    trained: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    ring = trained("dataset=ring", "architecture=mlp", "steps=2", "name=ring")
    assert "makes points, use gan-sample ckpt=RUN format=walk" in error_line(capsys, "demo", str(ring), "port=0")


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium, or set CHROMIUM")
def test_in_a_browser_inputs_change_the_image_and_nothing_is_asked_from_elsewhere(
    address: str, generator: LoadedGenerator
) -> None:
    assert CHROMIUM is not None
    browser = Browser(CHROMIUM)
    try:
        browser.open(address, 390, 800)
        assert browser.run("document.documentElement.scrollWidth") <= 390
        for changes, fields in (
            ({}, {}),
            ({"seed": "5", "mix": "0.5"}, {"seed": 5, "mix": 0.5}),
            ({"direction": "1", "strength": "2"}, {"seed": 5, "mix": 0.5, "direction": 1, "strength": 2.0}),
            ({"seed": "-1"}, {"seed": 5, "mix": 0.5, "direction": 1, "strength": 2.0}),
        ):
            expected = image_of(generator, Directions(torch.eye(8)[:2], ["first", "second"]), **fields)
            assert _shown(browser, changes) == expected.flatten().tolist()
        assert "expected a whole number" in browser.run("document.getElementById('message').textContent")
        assert all(asked.startswith((address, "data:", f"blob:{address}")) for asked in browser.requests)
        assert [error for error in browser.errors if "400" not in error] == []
    finally:
        browser.close()


def _shown(browser: Browser, changes: dict[str, str]) -> list[int]:
    """Sets inputs of the page and returns the grey values of the image, once it is drawn."""
    script = """(async () => {
      const form = document.getElementById("inputs"), image = document.getElementById("image");
      for (const [name, value] of Object.entries(CHANGES)) form.elements[name].value = value;
      await draw();
      while (drawing) await new Promise((resolve) => setTimeout(resolve, 20));
      await image.decode();
      const canvas = document.createElement("canvas");
      [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
      const context = canvas.getContext("2d");
      context.drawImage(image, 0, 0);
      return [...context.getImageData(0, 0, canvas.width, canvas.height).data].filter((_, index) => index % 4 === 0);
    })()"""
    return browser.run(script.replace("CHANGES", json.dumps(changes)))
