// One row for each file that is not ready: what it waits for, how far it is, what can be done.

import { blurred, bytes, duration, el } from './dom.js';

const STAGES = {
  uploaded: 'Uploaded', probed: 'Checked', transcoding: 'Transcoding', transcoded: 'Transcoded',
  thumbnailed: 'Thumbnail made',
};
const ORDER = Object.keys(STAGES);

/** What the events of one attempt have told. */
class Live {
  constructor(attempt) {
    this.attempt = attempt;
    this.stage = null;
    this.percent = null;
    this.place = null;
    this.readyAt = null;
    this.playable = false;
  }

  hear({ type, data }) {
    if (type === 'media.asset.estimated.v1') {
      this.place = data.place ?? null;
      this.readyAt = data.readyInSeconds ? Date.now() + 1000 * data.readyInSeconds : null;
    } else if (type === 'media.asset.playable.v1') {
      this.playable = true;
    } else if (type === 'media.asset.progressed.v1') {
      // A thumbnail is made beside the film: it says nothing of how far that is.
      const isBehind = data.stage === 'thumbnailed' && this.stage !== null && this.stage !== 'uploaded';
      if (!isBehind && STAGES[data.stage]) this.stage = data.stage;
      if (data.stage === 'transcoding') this.percent = data.percent ?? 0;
    }
  }

  get isUnderWay() { return ORDER.indexOf(this.stage) > 0; }
}

export class Row {
  /** *can* has what its buttons do: play, retry, remove, giveUp, chooseAgain, changed. */
  constructor(name, size, can) {
    Object.assign(this, { name, size, can });
    this.upload = null;
    this.asset = null;
    this.open = null;
    this.refusal = null;
    this.live = new Live(0);
    this.rate = { at: 0, sent: 0, perSecond: 0 };
    this.#build();
  }

  get assetId() { return this.upload?.assetId ?? this.asset?.assetId ?? this.open?.assetId ?? null; }

  hear(event) {
    const { attempt } = event.data;
    if (attempt < this.live.attempt) return;
    if (attempt > this.live.attempt) this.live = new Live(attempt);
    this.live.hear(event);
    if (event.data.placeholder) this.#showPlaceholder(event.data.placeholder);
    this.render();
  }

  take(asset) {
    this.asset = asset;
    if (asset.status !== 'pending') this.open = null;
    if (asset.place && !this.live.place) this.live.place = asset.place;
    if (asset.readyInSeconds) this.live.readyAt ??= Date.now() + 1000 * asset.readyInSeconds;
    this.#showPlaceholder(asset.placeholder);
    this.render();
  }

  #build() {
    this.mini = el('div', { className: 'mini' });
    this.text = el('p', { className: 'stage-text' });
    this.bar = el('progress', { max: 100 });
    this.bar.setAttribute('aria-label', `Progress of ${this.name}`);
    this.actions = el('div', { className: 'actions' });
    this.buttons = {};
    const title = el('p', { className: 'name' }, this.name, ' ', el('small', {}, bytes(this.size)));
    this.element = el('li', { className: 'row' }, this.mini, title, this.text, this.bar, this.actions);
  }

  #showPlaceholder(placeholder) {
    if (this.mini.firstChild || !placeholder) return;
    const made = blurred(placeholder);
    if (made) this.mini.append(made);
  }

  /** Bring what is shown up to date, and keep the focus where it is. */
  render() {
    const { text, percent, bad, actions } = this.#what();
    this.element.classList.toggle('bad', Boolean(bad));
    if (this.text.textContent !== text) this.text.textContent = text;
    this.bar.hidden = percent === null;
    if (percent !== null) this.bar.value = percent;
    let isLost = false;
    for (const [label, button] of Object.entries(this.buttons)) {
      if (actions[label]) continue;
      isLost ||= document.activeElement === button;
      button.remove();
      delete this.buttons[label];
    }
    for (const [label, act] of Object.entries(actions)) {
      const button = this.buttons[label] ??= el('button', { type: 'button' }, label);
      button.setAttribute('aria-label', `${label}: ${this.name}`);
      button.onclick = act;
      if (!button.parentNode) this.actions.append(button);
    }
    const wanted = Object.keys(actions).map((label) => this.buttons[label]);
    // Moved, a button loses the focus.
    if (wanted.some((one, n) => this.actions.children[n] !== one)) {
      const focused = wanted.find((one) => one === document.activeElement);
      this.actions.replaceChildren(...wanted);
      focused?.focus();
    }
    if (isLost) this.actions.firstElementChild?.focus();
  }

  #what() {
    const { upload, can } = this;
    const remove = { Remove: () => can.remove(this) };
    if (this.refusal) {
      return { text: `${this.refusal.message} (${this.refusal.code})`, percent: null, bad: true, actions: remove };
    }
    if (upload && upload.state !== 'sent') return this.#sending(upload);
    if (this.open) return this.#stopped();
    const { asset, live } = this;
    const status = asset?.status ?? 'pending';
    if (status === 'failed') {
      const { code, message } = asset.error ?? { code: 'unknown', message: 'It failed.' };
      const actions = { 'Try again': () => can.retry(this), ...remove };
      return { text: `${message} (${code})`, percent: null, bad: true, actions };
    }
    if (status === 'pending' && !upload && !live.stage) {
      return { text: 'Waits for its file.', percent: null, actions: remove };
    }
    const percent = live.stage === 'transcoding' ? live.percent : null;
    const actions = asset?.hlsUrl || live.playable ? { Play: () => can.play(this), ...remove } : remove;
    return { text: this.#processing(), percent, actions };
  }

  #sending(upload) {
    const { can } = this, percent = 100 * upload.sent / this.size;
    const told = `${Math.floor(percent)} %`;
    const giveUp = { 'Give up': () => can.giveUp(this) };
    const pause = { Pause: () => upload.pause(), ...giveUp };
    const resume = { Resume: () => upload.start(), ...giveUp };
    switch (upload.state) {
      case 'waiting': return { text: 'Waits for its turn.', percent: upload.sent ? percent : null, actions: pause };
      case 'sending': return { text: `Uploading: ${told}${this.#left(upload)}`, percent, actions: pause };
      case 'paused': return { text: `Paused at ${told}`, percent, actions: resume };
      default: {
        const { code, message } = upload.problem;
        const actions = { 'Try again': () => upload.start(), ...giveUp };
        return { text: `${message} (${code})`, percent, bad: true, actions };
      }
    }
  }

  /** How long the rest takes at the speed of the last seconds. */
  #left({ sent }) {
    const { rate } = this, now = performance.now(), seconds = (now - rate.at) / 1000;
    if (seconds > 1) {
      const perSecond = Math.max(0, sent - rate.sent) / seconds;
      const isFirst = rate.at === 0 || rate.perSecond === 0;
      rate.perSecond = rate.at === 0 ? 0 : isFirst ? perSecond : 0.7 * rate.perSecond + 0.3 * perSecond;
      Object.assign(rate, { at: now, sent });
    }
    if (rate.perSecond < 1) return '';
    return `, ${bytes(rate.perSecond)} a second, about ${duration((this.size - sent) / rate.perSecond)} left`;
  }

  #stopped() {
    const { open, can } = this;
    const stored = (open.stored ?? []).reduce((sum, { size }) => sum + size, 0);
    const percent = 100 * stored / open.size;
    return {
      text: this.problem ?? `Stopped at ${Math.floor(percent)} %. Choose the same file again to go on.`,
      percent, bad: Boolean(this.problem),
      actions: { 'Choose file': () => can.chooseAgain(this), 'Give up': () => can.giveUp(this) },
    };
  }

  #processing() {
    const { live } = this;
    let text = STAGES[live.stage] ?? (this.upload ? 'Uploaded' : 'Processing');
    if (live.stage === 'transcoding') text += ` ${Math.floor(live.percent)} %`;
    if (live.place && !live.isUnderWay) text += `, place ${live.place} in line`;
    const left = live.readyAt ? (live.readyAt - Date.now()) / 1000 : 0;
    if (left > 1) text += `, ready in about ${duration(left)}`;
    if (live.playable || this.asset?.hlsUrl) text += '. It can be played already.';
    return text;
  }
}
