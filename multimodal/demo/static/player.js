// Plays a spoken answer while it is still being written: each chunk of samples starts where the last one ended.
// The sound runs through a media stream into an <audio> element, which gives pause, volume and a place for the
// keyboard; when the answer is complete, the element gets the whole of it, to hear again.
(() => {
  let context, turn = null, taken = 0, ends_at = 0, output, pieces = [];

  const element = () => document.querySelector("#spoken audio");

  // Browsers let a page sound only after a gesture: any click or key wakes it.
  const wake = () => {
    context ??= new AudioContext();
    if (context.state === "suspended") context.resume();
  };
  for (const gesture of ["pointerdown", "keydown"]) document.addEventListener(gesture, wake, { capture: true });

  const samples_of = (base64) => {
    const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
    const whole = new Int16Array(bytes.buffer);
    return Float32Array.from(whole, (sample) => sample / 32768);
  };

  const begin = (id) => {
    wake();
    output?.disconnect();
    [turn, taken, pieces, ends_at] = [id, 0, [], 0];
    const stream = context.createMediaStreamDestination();
    output = context.createGain();
    output.connect(stream);
    const audio = element();
    audio.removeAttribute("src");
    audio.srcObject = stream.stream;
    audio.play().catch(() => {}); // not allowed to yet: the element's own button plays it
    document.querySelector("#spoken").classList.add("sounding");
  };

  const sound = (samples, rate) => {
    const buffer = context.createBuffer(1, samples.length, rate);
    buffer.copyToChannel(samples, 0);
    const source = context.createBufferSource();
    source.buffer = buffer;
    source.connect(output);
    ends_at = Math.max(ends_at, context.currentTime + 0.02); // 20 ms, so that a late chunk does not click
    source.start(ends_at);
    ends_at += buffer.duration;
  };

  const wav = (pieces, rate) => {
    const size = pieces.reduce((sum, piece) => sum + 2 * piece.length, 0);
    const view = new DataView(new ArrayBuffer(44 + size));
    const text = (at, letters) => [...letters].forEach((letter, i) => view.setUint8(at + i, letter.charCodeAt(0)));
    text(0, "RIFF"); view.setUint32(4, 36 + size, true); text(8, "WAVEfmt ");
    view.setUint32(16, 16, true); view.setUint16(20, 1, true); view.setUint16(22, 1, true);
    view.setUint32(24, rate, true); view.setUint32(28, 2 * rate, true);
    view.setUint16(32, 2, true); view.setUint16(34, 16, true); text(36, "data"); view.setUint32(40, size, true);
    let at = 44;
    for (const piece of pieces) for (const sample of piece) { view.setInt16(at, sample * 32767, true); at += 2; }
    return URL.createObjectURL(new Blob([view.buffer], { type: "audio/wav" }));
  };

  // value: {turn, rate_hz, chunks so far (base64 of 16-bit samples), done}; null silences.
  window.speakAnswer = (value) => {
    if (!value || !value.chunks) {
      output?.disconnect();
      const audio = element();
      if (audio) { audio.pause(); audio.srcObject = null; }
      document.querySelector("#spoken")?.classList.remove("sounding");
      turn = null;
      return;
    }
    if (value.turn !== turn) { if (!value.chunks.length) return; begin(value.turn); }
    for (const chunk of value.chunks.slice(taken)) {
      const samples = samples_of(chunk);
      pieces.push(samples);
      sound(samples, value.rate_hz);
    }
    taken = value.chunks.length;
    if (value.done) {
      const [id, whole, of] = [turn, wav(pieces, value.rate_hz), output];
      setTimeout(() => {
        if (turn !== id || output !== of) return;
        const audio = element();
        audio.srcObject = null;
        audio.src = whole;
      }, Math.max(0, ends_at - context.currentTime) * 1000 + 300);
    }
  };
})();
