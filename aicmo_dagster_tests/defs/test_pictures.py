import base64
import re
from xml.etree import ElementTree

from aicmo_dagster.defs.pictures import bars, intervals


def drawn(picture: object) -> ElementTree.Element:
    """The SVG within the metadata."""
    found = re.search(r"base64,([A-Za-z0-9+/=]+)", str(picture))
    assert found
    return ElementTree.fromstring(base64.b64decode(found[1]))


def test_an_interval_is_a_line_with_its_value_on_it() -> None:
    svg = drawn(intervals("Difference", [("nudge: <story>", -0.01, 0.02, 0.05)]))
    texts = [node.text for node in svg if node.tag.endswith("text")]
    paths = [node.attrib["d"] for node in svg if node.tag.endswith("path")]
    (point,) = (node for node in svg if node.tag.endswith("circle"))

    assert texts == ["Difference", "nudge: <story>", "+2.00 pp"]
    zero, line = paths
    assert line.startswith("M190.0 ")
    assert line.endswith("H510.0")
    assert zero.startswith("M243.3 ")  # a sixth of the way from -0.01 to 0.05
    assert point.attrib["cx"] == "350.0"


def test_an_interval_of_no_width_is_drawn_as_well() -> None:
    assert len(drawn(intervals("Nothing", [("a", 0.0, 0.0, 0.0)]))) > 0


def test_a_long_label_is_cut() -> None:
    texts = [node.text for node in drawn(bars("Reasons", {"x" * 40: 1})) if node.text]

    assert any(text.endswith("…") and len(text) == 30 for text in texts)
