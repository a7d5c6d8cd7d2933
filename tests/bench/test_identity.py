from pixelsmile.bench.identity import DetectedLandmarks
from pixelsmile.bench.summary import summarise
from pixelsmile.bench.table import read_table
from pixelsmile.evaluate import coverage_line
from pixelsmile.models.detectors import BoxTemplate, FirstAvailable, MtcnnDetector
from tests.bench.tables import edited_folder


def test_points_of_a_template_are_not_called_detected(tmp_path):
    template = FirstAvailable([BoxTemplate(whole_image=True)])
    kind = DetectedLandmarks(template).describe()
    assert kind["kind"] == "template"
    assert DetectedLandmarks(MtcnnDetector()).describe()["kind"] == "detected"
    folder = edited_folder(tmp_path, landmarks=kind)()
    line = coverage_line(summarise(folder, read_table(folder)))
    assert "points of a template, no face looked for" in line
