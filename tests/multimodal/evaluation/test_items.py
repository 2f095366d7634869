"""Items, and the face that every data set is opened by."""

import pytest

from multimodal.evaluation.data import open_dataset
from multimodal.evaluation.items import TASKS, Item


def test_an_item_says_what_it_lacks():
    with pytest.raises(ValueError, match="item a: found task 'sing'; accepted: asr, "):
        Item("a", "sing", "English", None, ("x",))
    with pytest.raises(ValueError, match="item a: found no reference"):
        Item("a", "asr", "English", None, ())


@pytest.mark.parametrize(
    ("task", "data", "options", "message"),
    [
        ("sing", None, {}, "found task 'sing'; accepted: " + ", ".join(TASKS)),
        ("asr", None, {"limit": 0}, "found a limit of 0"),
        ("asr", None, {"languages": ["Klingon"]}, "unknown language 'Klingon'; accepted are Arabic"),
        ("asr", "flores", {}, "found data 'flores'; accepted: espeak34, .*chartqa.* fleurs"),
        ("asr", "fleurs", {}, "fleurs needs a place: fleurs=FOLDER .*hi_in/test.tsv.*fleurs=google/fleurs"),
        ("image-qa", "fleurs=/nowhere", {}, "fleurs has no image-qa; it has asr, ast-into-english"),
        ("asr", "mls=/nowhere", {}, "found no folder /nowhere; accepted: .*mls_german.* facebook/multilingual"),
        (
            "asr",
            "mls=owner/name",
            {"languages": ["hi"]},
            "mls has no asr for Hindi on the hub; accepted: Dutch, French",
        ),
        ("asr", "mls=owner/name", {"languages": ["en"]}, "mls has no asr for English on the hub"),
        ("video-qa", "nextqa=owner/name", {}, "nextqa is read from a folder only"),
        ("asr", None, {"split": "dev"}, "found split 'dev'"),
        ("asr", "nano-pictures", {}, "nano-pictures has no asr; accepted .*espeak34, espeak34-noise10"),
        ("image-qa", "espeak34-noise10", {}, "espeak34-noise10 has no image-qa; .*nano-pictures"),
        ("image-qa", None, {"languages": ["hi"]}, "nano-pictures has no image-qa for Hindi; accepted: English"),
    ],
)
def test_what_is_not_there_is_named_with_what_is_accepted(task, data, options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        open_dataset(task, data, cache=tmp_path, **options)


def test_a_library_that_is_not_installed_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr("multimodal.evaluation.data.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"espeak34 makes video-qa with av: pip install 'multimodal-llama\[train\]'"):
        open_dataset("video-qa", cache=tmp_path)
