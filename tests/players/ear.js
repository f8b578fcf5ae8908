// Tells when a beep begins in the first channel, on the clock of the audio context.
const LOUD = 0.15, QUIET_SECONDS = 0.3;

class Ear extends AudioWorkletProcessor {
  heard = -1;

  process([[left]], [output]) {
    const at = left ? left.findIndex((sample) => Math.abs(sample) > LOUD) : -1;
    if (at >= 0) {
      if (currentTime - this.heard > QUIET_SECONDS) this.port.postMessage(currentTime + at / sampleRate);
      this.heard = currentTime;
    }
    if (left) output.forEach((channel) => channel.set(left));
    return true;
  }
}
registerProcessor('ear', Ear);
