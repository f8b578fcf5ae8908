// The page of an app that plays films, and what tells play.mjs how it goes.
//
// The film has the number of each frame in its last rows, as cells of white and black, and a beep
// at each full second: support/clock.py makes it.
'use strict';

const CELLS = 16, BITS = 12, STRIP = 1 / 9, RATE = 25;
const video = document.getElementById('video');
const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
const fatal = [], soft = [], shown = [], beeps = [];
let hls, player, waits = 0;

video.addEventListener('waiting', () => waits++);

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

async function until(check, seconds) {
  const began = performance.now();
  while (!check()) {
    if (performance.now() - began > seconds * 1000) return null;
    await sleep(10);
  }
  return performance.now() - began;
}

/** The number of the frame that is on the screen; null where it cannot be read. */
function frameShown() {
  const { videoWidth: width, videoHeight: height } = video;
  if (!width) return null;
  canvas.canvas.width = CELLS * 8;
  canvas.canvas.height = 8;
  canvas.drawImage(video, 0, height * (1 - STRIP / 2), width, height * STRIP / 4, 0, 0, CELLS * 8, 8);
  const { data } = canvas.getImageData(0, 0, CELLS * 8, 8);
  // The green of each cell's middle.
  const light = Array.from({ length: CELLS }, (_, n) => data[(4 * CELLS * 8 + n * 8 + 4) * 4 + 1] > 127);
  const bits = light.slice(2, 2 + BITS);
  const isEven = (bits.filter(Boolean).length + light[2 + BITS]) % 2 === 0;
  if (!light[0] || light[1] || !isEven) return null;
  return bits.reduce((number, bit) => number * 2 + bit, 0);
}

function followFrames(_now, { mediaTime, presentedFrames }) {
  // To read each one would have others dropped.
  if (presentedFrames % 8 === 0) shown.push({ time: mediaTime, frame: frameShown() });
  video.requestVideoFrameCallback(followFrames);
}

/** Notes when beeps begin, on the clock of the film. */
async function followSound() {
  const context = new AudioContext();
  await context.audioWorklet.addModule('/ear.js');
  const ear = new AudioWorkletNode(context, 'ear');
  ear.port.onmessage = ({ data }) => {
    if (!video.seeking && !video.paused) beeps.push(video.currentTime - (context.currentTime - data));
  };
  context.createMediaElementSource(video).connect(ear).connect(context.destination);
  await context.resume();
}

/** Load a film and play it; returns how long it took until it went. */
async function watch(kind, url) {
  await followSound();
  video.requestVideoFrameCallback(followFrames);
  const began = performance.now();
  if (kind === 'hls.js') {
    hls = new Hls();
    hls.on(Hls.Events.ERROR, (_, e) => {
      (e.fatal ? fatal : soft).push([e.details, e.reason || e.error?.message || ''].join(' ').trim());
    });
    hls.loadSource(url);
    hls.attachMedia(video);
  } else {
    shaka.polyfill.installAll();
    player = new shaka.Player();
    // It would not offer a size any more of which a busy machine drops frames.
    player.configure({ abr: { droppedFrames: false } });
    player.addEventListener('error', ({ detail }) => {
      (detail.severity === 2 ? fatal : soft).push(`${detail.code} ${detail.message}`);
    });
    await player.attach(video);
    await player.load(url).catch((e) => fatal.push(`${e.code} ${e.message}`));
  }
  video.play().catch((e) => soft.push(`play ${e.message}`));
  await until(() => (video.currentTime > 0.1 && video.readyState > 2) || fatal.length, 60);
  return { startMs: Math.round(performance.now() - began), startsAt: video.currentTime };
}

/** Play for some seconds; returns how far the film came in that time. */
async function progress(seconds) {
  await video.play();
  await until(() => video.readyState > 2 && !video.seeking, 60);
  const at = video.currentTime, began = performance.now();
  await sleep(seconds * 1000);
  return (video.currentTime - at) / ((performance.now() - began) / 1000);
}

/** Stand still in the middle of a frame; returns its number, and the one that is drawn. */
async function stillAt(time) {
  video.pause();
  const frame = Math.floor(time * RATE + 0.001);
  const drawn = new Promise((done) => video.requestVideoFrameCallback(() => done()));
  video.currentTime = (frame + 0.5) / RATE;
  await until(() => !video.seeking && video.readyState > 1, 60);
  // A frame that is there already is not told again.
  await Promise.race([drawn, sleep(3000)]);
  await until(() => frameShown() === frame, 3);
  return { frame, drawn: frameShown(), height: video.videoHeight };
}

function rungs() {
  const heights = hls ? hls.levels.map((one) => one.height)
    : player.getVariantTracks().map((one) => one.height);
  return [...new Set(heights)].sort((a, b) => a - b);
}

/** Play one size and no other, from now on. */
async function force(height) {
  if (hls) {
    hls.currentLevel = hls.levels.findIndex((one) => one.height === height);
  } else {
    player.configure({ abr: { enabled: false } });
    player.selectVariantTrack(player.getVariantTracks().find((one) => one.height === height), true);
    // A seek while it empties its buffer would never end.
    await until(() => !video.buffered.length, 2);
    await until(() => video.buffered.length && video.readyState > 2, 30);
  }
}

/** Show the text of a language where the film stands still at a time; returns what there is of it. */
async function textIn(language, time) {
  const offered = (hls ? hls.subtitleTracks : player.getTextTracks())
    .map((one) => ({ language: hls ? one.lang : one.language, label: hls ? one.name : one.label }));
  const number = offered.findIndex((one) => one.language === language);
  if (hls) {
    hls.subtitleDisplay = true;
    hls.subtitleTrack = number;
  } else {
    player.selectTextTrack(player.getTextTracks()[number]);
  }
  video.pause();
  video.currentTime = time;
  const tracks = () => [...video.textTracks].filter((one) => one.mode === 'showing');
  const active = () => tracks().flatMap((one) => [...(one.activeCues ?? [])]);
  await until(() => !video.seeking && active().length, 30);
  const cues = tracks().flatMap((one) => [...(one.cues ?? [])]);
  return {
    offered,
    cues: cues.map(({ startTime, endTime, text }) => [startTime, endTime, text]),
    shown: active().map(({ text }) => text),
  };
}

async function toTheEnd(seconds) {
  await video.play();
  return (await until(() => video.ended || fatal.length, seconds)) !== null && video.ended;
}

function state() {
  const { droppedVideoFrames: dropped, totalVideoFrames: frames } = video.getVideoPlaybackQuality();
  const buffered = video.buffered.length ? video.buffered.end(video.buffered.length - 1) : 0;
  const isLive = hls ? Boolean(hls.latestLevelDetails?.live) : player.isLive() || player.isInProgress();
  return {
    at: video.currentTime, duration: video.duration, buffered, ranges: video.buffered.length, isLive,
    frames, dropped, waits, fatal, soft, shown, beeps, ended: video.ended, height: video.videoHeight,
  };
}
