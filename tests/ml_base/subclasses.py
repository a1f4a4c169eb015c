"""Models as people write them for label-studio-ml: what the tests put into files of their own."""

BRIGHT = '''
"""A box around what is bright, as the tutorials of label-studio-ml do it."""
from label_studio_ml.model import LabelStudioMLBase
from label_studio_ml.utils import get_single_tag_keys
from PIL import Image


class Bright(LabelStudioMLBase):
    def __init__(self, **kwargs):
        super(Bright, self).__init__(**kwargs)
        self.from_name, self.to_name, self.value, self.labels = get_single_tag_keys(
            self.parsed_label_config, "RectangleLabels", "Image")

    def predict(self, tasks, **kwargs):
        print("predicting", len(tasks))
        found = []
        for task in tasks:
            picture = Image.open(self.get_local_path(task["data"][self.value])).convert("L")
            box = picture.point(lambda v: 255 if v > 200 else 0).getbbox()
            if box is None:
                found.append({"result": [], "score": 0.0})
                continue
            w, h = picture.size
            value = {"x": 100.0 * box[0] / w, "y": 100.0 * box[1] / h, "width": 100.0 * (box[2] - box[0]) / w,
                     "height": 100.0 * (box[3] - box[1]) / h, "rectanglelabels": [self.labels[0]]}
            found.append({"result": [{"from_name": self.from_name, "to_name": self.to_name,
                                      "type": "rectanglelabels", "value": value, "score": 0.8}], "score": 0.8})
        return found
'''

KIND = '''
"""Says of a picture which of two classes it is, by its mean; fetches it over HTTP."""
import io
import requests
from label_studio_ml.model import LabelStudioMLBase
from PIL import Image, ImageStat


class Kind(LabelStudioMLBase):
    def predict(self, tasks, context=None, **kwargs):
        (name, info), = self.parsed_label_config.items()
        found = []
        for task in tasks:
            reply = requests.get(task["data"]["image"])
            reply.raise_for_status()
            mean = ImageStat.Stat(Image.open(io.BytesIO(reply.content)).convert("L")).mean[0]
            chosen = info["labels"][1 if mean > 128 else 0]
            found.append({"result": [{"from_name": name, "to_name": info["to_name"][0], "type": "choices",
                                      "value": {"choices": [chosen]}}], "score": 0.9})
        return found
'''

ODD = '''
"""Does whatever the first pixel of its picture says."""
import os
import time
from label_studio_ml.model import LabelStudioMLBase
from PIL import Image


class Value:
    """Stands for the wrapped answers of label-studio-ml 2.0."""

    def __init__(self, body):
        self.body = body

    def model_dump(self):
        return self.body


class Response:
    def __init__(self, predictions):
        self.predictions = predictions


def box(**more):
    value = {"x": 0, "y": 0, "width": 50, "height": 50, "rectanglelabels": ["House"]}
    return dict({"from_name": "label", "to_name": "image", "type": "rectanglelabels", "value": value}, **more)


class Odd(LabelStudioMLBase):
    def predict(self, tasks, **kwargs):
        pid = {"result": [box(meta={"pid": os.getpid()})], "score": None}
        what = Image.open(tasks[0]["data"]["image"]).getpixel((0, 0))[0]
        if what == 1:
            os._exit(7)
        if what == 2:
            time.sleep(600)
        if what == 3:
            raise KeyError("weights")
        return [
            [pid], None, None, None,
            Response([Value({"result": [box(score=0.5)], "score": 0.5})]),
            [[]], [None], [{}], [{"result": []}],
            [], 7, "text", [pid, pid], [{"result": "text"}], [{"result": [box(from_name="other")]}],
            [{"result": [box(value={"x": float("nan")}), box(value=7), box(value={"x": 1e300}), 7, None]}],
            [{"result": [box(score=57.0), box(score=float("inf")), box(score="high"), box(score=0.1)]}],
            [{"result": [box(type="brushlabels", value={"rle": [1, 2], "format": "rle", "brushlabels": ["House"]})]}],
            [{"x": "y" * 70000000}],
        ][what]
'''
