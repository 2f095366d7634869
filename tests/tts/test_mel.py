import torch
from transformers import SpeechT5FeatureExtractor

from tts.mel import HOP, SAMPLE_RATE_HZ, SILENCE, log_mel


def test_frames_are_those_of_speecht5():
    """Theirs are centred on samples, ours on the middle of a hop: half a hop of quiet in front makes them meet."""
    torch.manual_seed(0)
    wave = torch.randn(16 * HOP) * 0.1
    theirs = SpeechT5FeatureExtractor()(
        audio_target=torch.cat([torch.zeros(HOP // 2), wave]).numpy(), sampling_rate=SAMPLE_RATE_HZ, return_tensors="pt"
    )["input_values"][0]
    ours = log_mel(wave[None])[0]
    # the first and the last frames see how the sound is drawn on at its ends
    torch.testing.assert_close(ours[3:12], theirs[4:13], rtol=0, atol=0.02)


def test_a_tone_stands_out_in_its_place_and_time():
    seconds = torch.arange(40 * HOP) / SAMPLE_RATE_HZ
    wave = torch.sin(2 * torch.pi * 1000 * seconds) * (seconds > 20 * HOP / SAMPLE_RATE_HZ)
    mel = log_mel(wave[None])[0]
    assert mel.shape == (40, 80)
    assert torch.all(mel[:17] == SILENCE) and (mel[24:].argmax(1) - 27).abs().max() <= 2
    assert (mel[:, 27] > -1).nonzero()[0].item() in (18, 19, 20)
