// Shows one asset in a dialog: a picture, or a film or sound with controls of its own.
//
// Invariant: its links lapse while it is open, so it asks for new ones and goes on where it was.

import { bytes, clock, el, pictureOf } from './dom.js';
import { isStill } from './gallery.js';

const SPEEDS = [0.5, 0.75, 1, 1.25, 1.5, 2];
const STEP_SECONDS = 5;
const $ = (id) => document.getElementById(id);
const video = $('video');

/** The tiles of a storyboard: which part of which sheet is for which time. */
async function loadTiles(url) {
  const text = await (await fetch(url, { credentials: 'omit' })).text();
  const clockOf = (at) => at.split(':').reduce((sum, part) => sum * 60 + Number(part), 0);
  const cue = /([\d:.]+) --> ([\d:.]+)[^\n]*\n(\S+)#xywh=(\d+),(\d+),(\d+),(\d+)/g;
  return [...text.replaceAll('\r', '').matchAll(cue)].map(([, from, to, sheet, ...box]) => {
    const [x, y, width, height] = box.map(Number);
    return { from: clockOf(from), to: clockOf(to), sheet: new URL(sheet, url).href, x, y, width, height };
  });
}

export class Player {
  #hls = null; #asset = null; #tiles = []; #refresh; #opened = 0; #seeking = false;

  /** *refresh* returns an asset with new links. */
  constructor(refresh) {
    this.#refresh = refresh;
    this.#wire();
  }

  get assetId() { return $('player').open ? this.#asset?.assetId : null; }

  async show(asset) {
    this.#clear();
    this.#asset = asset;
    const name = asset.title ?? asset.fileName;
    $('player-title').textContent = name;
    $('player-facts').textContent = facts(asset);
    const isPicture = isStill(asset);
    $('controls').hidden = isPicture;
    video.hidden = isPicture;
    if (!$('player').open) $('player').showModal();
    if (isPicture) {
      $('picture').replaceChildren(...(pictureOf(asset, '100vw', asset.alt ?? name)?.childNodes ?? []));
      return;
    }
    video.setAttribute('aria-label', asset.alt ?? name);
    video.poster = asset.responsive[0]?.src ?? asset.thumbnailUrl ?? '';
    video.loop = Boolean(asset.animationUrl);
    $('play').focus();
    await this.#load(asset, 0);
    this.take(asset);
    if (!asset.animationUrl || !matchMedia('(prefers-reduced-motion: reduce)').matches) this.#play();
  }

  /** What became of the asset that is shown: its storyboard is there when it is ready. */
  take(asset) {
    this.#asset = asset;
    $('player-facts').textContent = facts(asset);
    if (!asset.storyboardUrl || this.#tiles.length) return;
    loadTiles(asset.storyboardUrl).then((tiles) => {
      if (this.#asset === asset) this.#tiles = tiles;
    }, () => { /* it is a help alone */ });
  }

  async #load(asset, at) {
    const opened = ++this.#opened;
    const url = asset.hlsUrl;
    if (!url) {
      video.src = asset.animationUrl ?? asset.processedUrl ?? asset.files.find((one) => one.kind === 'audio')?.url ?? '';
      this.#listTexts();
      return;
    }
    const { default: Hls } = await import('./vendor/hls.js');
    if (opened !== this.#opened) return;
    // Browsers that say that they play HLS themselves are wrong about some streams: where there
    // are media sources, those are used.
    if (!Hls.isSupported()) {
      video.src = url;
      video.currentTime = at;
      return;
    }
    // The policy of this page allows no worker from a blob; what comes needs none.
    const hls = this.#hls = new Hls({ enableWorker: false, startPosition: at });
    hls.on(Hls.Events.MANIFEST_PARSED, () => this.#listRungs());
    hls.on(Hls.Events.LEVEL_SWITCHED, () => this.#listRungs());
    hls.on(Hls.Events.SUBTITLE_TRACKS_UPDATED, () => this.#listTexts());
    hls.on(Hls.Events.ERROR, (_, error) => this.#failed(Hls, error));
    hls.loadSource(url);
    hls.attachMedia(video);
  }

  async #failed(Hls, { fatal, type, details, response }) {
    if (!fatal) return;
    const at = video.currentTime;
    if (type === Hls.ErrorTypes.MEDIA_ERROR && !this.#recovered) {
      this.#recovered = true;
      this.#hls.recoverMediaError();
      return;
    }
    const opened = this.#opened;
    if (response?.code === 403 && !this.#renewed) {
      this.#renewed = true;
      const asset = await this.#refresh(this.#asset.assetId).catch(() => null);
      if (!asset || opened !== this.#opened) return;
      this.#hls?.destroy();
      await this.#load(asset, at);
      this.#play();
      return;
    }
    $('player-alert').hidden = false;
    $('player-alert').textContent = `It cannot be played (${details}).`;
  }

  #recovered = false;
  #renewed = false;

  #clear() {
    this.#opened++;
    this.#hls?.destroy();
    this.#hls = null;
    this.#tiles = [];
    this.#recovered = this.#renewed = false;
    video.pause();
    video.removeAttribute('src');
    video.removeAttribute('poster');
    video.load();
    $('picture').replaceChildren();
    $('player-alert').hidden = $('tile').hidden = true;
    $('rungs-label').hidden = $('texts-label').hidden = true;
    $('seek').max = $('seek').value = 0;
    this.#showTime();
  }

  #play() {
    // A browser that plays nothing without a click shows the button.
    video.play().catch(() => {});
  }

  #listRungs() {
    const { levels, autoLevelEnabled, currentLevel } = this.#hls;
    const now = levels[currentLevel]?.height;
    const chosen = autoLevelEnabled ? '-1' : String(this.#hls.nextLevel);
    const entries = levels.map((level, n) => ({ n, level })).filter(({ level }) => level.height)
      .sort((a, b) => b.level.height - a.level.height || b.level.bitrate - a.level.bitrate);
    $('rungs-label').hidden = entries.length < 1;
    fill($('rungs'), [['-1', now && autoLevelEnabled ? `Auto (${now})` : 'Auto'],
      ...entries.map(({ n, level }) => [String(n), `${level.height}${codecOf(level)}`])], chosen);
  }

  #listTexts() {
    const tracks = this.#hls?.subtitleTracks ?? [];
    $('texts-label').hidden = tracks.length === 0;
    fill($('texts'), [['-1', 'Off'], ...tracks.map((one, n) => [String(n), one.name || one.lang])],
      String(this.#hls?.subtitleTrack ?? -1));
  }

  #wire() {
    fill($('speed'), SPEEDS.map((one) => [String(one), `${one}×`]), '1');
    $('player-close').onclick = () => $('player').close();
    $('player').addEventListener('close', () => {
      if (document.fullscreenElement) document.exitFullscreen();
      if (document.pictureInPictureElement) document.exitPictureInPicture();
      this.#clear();
      this.#asset = null;
      // Its button may be gone with the row that it was in.
      if (document.activeElement === document.body) $('gallery').focus();
    });
    $('play').onclick = () => this.#toggle();
    video.onclick = () => this.#toggle();
    for (const name of ['play', 'pause', 'ended']) {
      video.addEventListener(name, () => { $('play').textContent = video.paused ? 'Play' : 'Pause'; });
    }
    for (const name of ['timeupdate', 'durationchange', 'seeked']) {
      video.addEventListener(name, () => this.#showTime());
    }
    $('seek').oninput = () => {
      this.#seeking = true;
      this.#showTile(Number($('seek').value));
      this.#showTime();
    };
    $('seek').onchange = () => {
      this.#seeking = false;
      video.currentTime = Number($('seek').value);
      $('tile').hidden = true;
    };
    $('seek').onpointermove = ({ offsetX }) => {
      this.#showTile((offsetX / $('seek').clientWidth) * Number($('seek').max));
    };
    $('seek').onpointerleave = () => { $('tile').hidden = true; };
    $('mute').onclick = () => { video.muted = !video.muted; };
    $('volume').oninput = () => { video.volume = Number($('volume').value); video.muted = false; };
    video.addEventListener('volumechange', () => {
      $('mute').setAttribute('aria-pressed', String(video.muted));
      $('mute').textContent = video.muted ? 'Unmute' : 'Mute';
      $('volume').value = video.muted ? 0 : video.volume;
    });
    $('rungs').onchange = () => {
      // -1 gives the choice back to the measured speed of the line.
      this.#hls.nextLevel = Number($('rungs').value);
    };
    $('texts').onchange = () => {
      this.#hls.subtitleDisplay = true;
      this.#hls.subtitleTrack = Number($('texts').value);
    };
    $('speed').onchange = () => { video.playbackRate = Number($('speed').value); };
    video.addEventListener('loadedmetadata', () => { video.playbackRate = Number($('speed').value); });
    $('pip').hidden = !document.pictureInPictureEnabled;
    $('pip').onclick = () => (document.pictureInPictureElement
      ? document.exitPictureInPicture() : video.requestPictureInPicture().catch(() => {}));
    for (const name of ['enterpictureinpicture', 'leavepictureinpicture']) {
      video.addEventListener(name, () => {
        $('pip').setAttribute('aria-pressed', String(Boolean(document.pictureInPictureElement)));
      });
    }
    $('full').hidden = !document.fullscreenEnabled;
    $('full').onclick = () => (document.fullscreenElement
      ? document.exitFullscreen() : $('stage').requestFullscreen());
    document.addEventListener('fullscreenchange', () => {
      $('full').setAttribute('aria-pressed', String(Boolean(document.fullscreenElement)));
    });
    $('player').addEventListener('keydown', (event) => this.#key(event));
  }

  /** Keys of players, where the control with the focus has no use for them. */
  #key(event) {
    if ($('controls').hidden || event.ctrlKey || event.altKey || event.metaKey) return;
    const { tagName } = event.target, key = event.key.toLowerCase();
    const isTaken = tagName === 'SELECT' || (tagName === 'BUTTON' && key === ' ')
      || (tagName === 'INPUT' && key.startsWith('arrow'));
    const act = {
      ' ': () => this.#toggle(), k: () => this.#toggle(),
      arrowleft: () => { video.currentTime -= STEP_SECONDS; },
      arrowright: () => { video.currentTime += STEP_SECONDS; },
      m: () => $('mute').click(), f: () => $('full').click(),
    }[key];
    if (isTaken || !act) return;
    event.preventDefault();
    act();
  }

  #toggle() {
    if (video.paused) this.#play(); else video.pause();
  }

  #showTime() {
    const total = Number.isFinite(video.duration) ? video.duration : 0;
    if (total) $('seek').max = total;
    if (!this.#seeking) $('seek').value = video.currentTime;
    const at = Number($('seek').value);
    // Of 400 steps, so that arrow keys move by some seconds in a long film.
    $('seek').step = Math.max(0.1, Math.min(STEP_SECONDS, total / 400));
    $('time').textContent = `${clock(at)} / ${clock(total)}`;
    $('seek').setAttribute('aria-valuetext', `${clock(at)} of ${clock(total)}`);
  }

  #showTile(at) {
    const found = this.#tiles.find(({ from, to }) => from <= at && at < to);
    $('tile').hidden = !found;
    if (!found) return;
    const { sheet, x, y, width, height } = found;
    const room = $('tile').parentNode.clientWidth - width;
    const part = at / (Number($('seek').max) || 1);
    Object.assign($('tile').style, {
      width: `${width + 4}px`, height: `${height + 4}px`, left: `${Math.max(0, part * room)}px`,
      backgroundImage: `url("${encodeURI(decodeURI(sheet))}")`, backgroundPosition: `${-x}px ${-y}px`,
    });
  }
}

/** Have a <select> offer [value, text] pairs; one that does so already is left alone. */
function fill(select, entries, chosen) {
  const said = JSON.stringify(entries);
  if (select.dataset.said !== said) {
    select.replaceChildren(...entries.map(([value, text]) => el('option', { value }, text)));
    select.dataset.said = said;
  }
  select.value = chosen;
}

function codecOf({ videoCodec = '' }) {
  if (/^(hvc1|hev1)/.test(videoCodec)) return ' HEVC';
  return videoCodec.startsWith('av01') ? ' AV1' : '';
}

function facts({ fileName, size, width, height, durationSeconds, warnings }) {
  return [
    fileName, bytes(size), width && `${width} × ${height}`, durationSeconds && clock(durationSeconds),
    ...warnings.map(({ message }) => message),
  ].filter(Boolean).join(' · ');
}
