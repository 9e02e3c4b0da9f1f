#!/usr/bin/env python3
"""Opens the page of a running relay in headless Chromium, at two widths and in both colour schemes.

Usage: check.py RELAY FOLDER. Starts RELAY (a k8s-relay binary) with a simulated cluster and a mock
reducer, and leaves four images in FOLDER. Fails if an image does not have the background of its
scheme, or if Chromium reports a violation of the page's policy.
"""

import json
import shutil
import struct
import subprocess
import sys
import time
import urllib.request
import zlib
from pathlib import Path

WIDTHS = {"phone": (390, 1600), "desk": (1280, 1400)}
# The scheme in Blink's settings, and the background in the page's style.
SCHEMES = {"dark": (0, (0x12, 0x16, 0x1C)), "light": (1, (0xF6, 0xF7, 0xF9))}


def first_pixel(image: Path) -> tuple[int, ...]:
    """The pixel at the top left: no filter of PNG changes it."""
    data, body = image.read_bytes()[8:], b""
    while data:
        (length,) = struct.unpack(">I", data[:4])
        if data[4:8] == b"IDAT":
            body += data[8 : 8 + length]
        data = data[12 + length :]
    return tuple(zlib.decompress(body)[1:4])


def line(process: subprocess.Popen, word: str) -> str:
    for text in process.stderr or ():
        if word in text:
            return text
    raise SystemExit(f"the process ended before it said {word!r}")


def main() -> None:
    relay, folder = sys.argv[1], Path(sys.argv[2])
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise SystemExit("chromium is missing")
    folder.mkdir(parents=True, exist_ok=True)
    running = []

    def start(*arguments: str, **options: object) -> subprocess.Popen:
        process = subprocess.Popen([relay, *arguments], text=True, **options)
        running.append(process)
        return process

    try:
        config = folder / "cluster.yaml"
        config.unlink(missing_ok=True)
        start("cluster", "--pods", "300", "--churn", "20", "--kubeconfig-out", str(config),
              stdout=subprocess.DEVNULL)
        while not config.exists():
            time.sleep(0.05)
        start("reducer", "--listen", "127.0.0.1:18109", stdout=subprocess.DEVNULL)
        main_process = start(
            "--source", "native", "--kubeconfig", str(config), "--intake-host", "127.0.0.1",
            "--intake-port", "18109", "--server-address", "127.0.0.1:0", "--admin-address",
            "127.0.0.1:0", "--log-format", "json", stderr=subprocess.PIPE)
        admin = json.loads(line(main_process, '"admin"'))["admin"]
        while True:
            status = json.load(urllib.request.urlopen(f"http://{admin}/statusz"))
            if status["native"]["listed"] and status["reducer"]["settled"]:
                break
            time.sleep(0.05)
        for width, (w, h) in WIDTHS.items():
            for scheme, (setting, background) in SCHEMES.items():
                image = folder / f"{width}-{scheme}.png"
                shown = subprocess.run(
                    [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                     "--enable-logging=stderr", f"--screenshot={image}", f"--window-size={w},{h}",
                     f"--blink-settings=preferredColorScheme={setting}", f"http://{admin}/"],
                    capture_output=True, text=True, timeout=120, check=True)
                refused = [text for text in shown.stderr.splitlines() if "Refused to" in text]
                if refused:
                    raise SystemExit(f"{image.name}: {refused}")
                if first_pixel(image) != background:
                    raise SystemExit(f"{image.name}: {first_pixel(image)} is not {background}")
                print(f"{image.name}: shown in its colours")
    finally:
        for process in running:
            process.terminate()


main()
