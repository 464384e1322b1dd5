"""The machine that a figure was measured on. Figures from two machines don't belong in one table."""

import os
import platform
from importlib.metadata import version
from typing import Any

from minibert.training.device import bfloat16_unit, choose_device, device_name, processor_name


def usable_cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def describe_machine(*, threads: int, device: str, packages: tuple[str, ...]) -> dict[str, Any]:
    """Describe the machine: processor, cores, threads, device, and the versions of Python, torch and `packages`.

    Raises InputError if there is no such device.
    """
    return {
        "processor": processor_name(),
        "amx": bfloat16_unit() == "AMX",
        "cores": usable_cores(),
        "threads": threads,
        "device": device_name(choose_device(device)),
        "python": platform.python_version(),
        **{package: version(package) for package in ("torch", *packages)},
    }


def machine_line(machine: dict[str, Any]) -> str:
    """Return the description as one line for people."""
    shown = {name: value for name, value in machine.items() if name not in ("processor", "amx", "cores", "device")}
    on = "" if machine["device"] == machine["processor"] else f"; {machine['device']}"
    amx = "with AMX" if machine["amx"] else "without AMX"
    versions = ", ".join(f"{name} {value}" for name, value in shown.items())
    return f"{machine['processor']} {amx}, {machine['cores']} cores{on}; {versions}"
