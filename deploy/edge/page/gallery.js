// One card for each asset that is ready.

import { blurred, clock, el, pictureOf } from './dom.js';

const SIZES = '(max-width: 34rem) 100vw, (max-width: 60rem) 45vw, 19rem';

/** Whether an asset is shown as a picture alone; what moves, or sounds, is played. */
export const isStill = (asset) => asset.type.startsWith('image/') && !asset.animationUrl;

export class Gallery {
  #list; #empty; #cards = new Map(); #can;

  /** *can* has what its buttons do: show, remove, linkLapsed. */
  constructor(list, empty, can) {
    this.#list = list;
    this.#empty = empty;
    this.#can = can;
  }

  /** Show the asset, in its place by age; the newest stand first. */
  put(asset) {
    const made = this.#card(asset);
    const before = this.#cards.get(asset.assetId);
    if (before) {
      const hadFocus = before.element.contains(document.activeElement);
      before.element.replaceWith(made.element);
      if (hadFocus) made.button.focus();
    } else {
      const older = [...this.#cards.values()].filter((one) => one.asset.createdAt < asset.createdAt)
        .sort((a, b) => (a.asset.createdAt < b.asset.createdAt ? 1 : -1))[0];
      this.#list.insertBefore(made.element, older?.element ?? null);
    }
    this.#cards.set(asset.assetId, made);
    this.#empty.hidden = true;
  }

  has(assetId) { return this.#cards.has(assetId); }

  focus(assetId) { this.#cards.get(assetId)?.button.focus(); }

  remove(assetId) {
    this.#cards.get(assetId)?.element.remove();
    this.#cards.delete(assetId);
    this.#empty.hidden = this.#cards.size > 0;
  }

  #card(asset) {
    const name = asset.title ?? asset.fileName;
    const picture = pictureOf(asset, SIZES, asset.alt ?? '');
    const blur = blurred(asset.placeholder);
    const told = isStill(asset) ? '' : asset.durationSeconds ? clock(asset.durationSeconds) : 'Moves';
    const kind = told ? el('span', { className: 'kind' }, told) : null;
    const note = picture ? null : el('span', { className: 'note', ariaHidden: 'true' }, '♪');
    const button = el('button', { type: 'button', className: 'open' }, blur, note, picture, kind);
    button.setAttribute('aria-label', isStill(asset) ? `Show ${name}` : `Play ${name}, ${told}`);
    button.onclick = () => this.#can.show(asset.assetId);
    const image = picture?.querySelector('img');
    // A picture may let what is behind it shine through.
    image?.addEventListener('load', () => { if (blur) blur.hidden = true; });
    image?.addEventListener('error', () => this.#can.linkLapsed(asset.assetId), { once: true });
    const remove = el('button', { type: 'button' }, 'Remove');
    remove.setAttribute('aria-label', `Remove ${name}`);
    remove.onclick = () => this.#can.remove(asset.assetId, name);
    const caption = el('div', { className: 'caption' }, el('span', { className: 'name' }, name), remove);
    const element = el('li', { className: 'card' }, button, caption);
    return { asset, element, button };
  }
}
