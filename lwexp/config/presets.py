"""Group files read by name, for code that chooses among them."""

from lwexp.config.base import validate
from lwexp.config.folders import CONF, read_choice
from lwexp.config.train import Auto, Hardware, HardwareChoice
from lwexp.extend import Strict


class _OneHardware(Strict):
    hardware: HardwareChoice


def hardware_preset(name: str) -> Hardware:
    """``lwexp/conf/hardware/<name>.yaml``, through the gate."""
    hardware = validate({"hardware": read_choice("hardware", name)}, _OneHardware).hardware
    assert not isinstance(hardware, Auto)
    return hardware


def hardware_presets() -> dict[str, Hardware]:
    """Every choice of lwexp/conf/hardware except auto, by name."""
    names = sorted(path.stem for path in (CONF / "hardware").glob("*.yaml"))
    return {name: hardware_preset(name) for name in names if name != "auto"}
