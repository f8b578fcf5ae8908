// Elements, and how numbers are written.

import { thumbHashToRGBA } from './vendor/thumbhash.js';

/** A new element with these properties and children; those that are null are left out. */
export function el(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in made) made[name] = value; else made.setAttribute(name, value);
  }
  made.append(...children.filter((one) => one !== null));
  return made;
}

export function bytes(count) {
  for (const [unit, size] of [['GB', 1e9], ['MB', 1e6], ['kB', 1e3]]) {
    if (count >= size) return `${(count / size).toFixed(count < 10 * size ? 1 : 0)} ${unit}`;
  }
  return `${count} bytes`;
}

/** A time as players show it: 1:02:03. */
export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds || 0));
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (number) => String(number).padStart(2, '0');
  return h ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

/** How long something takes, in words. */
export function duration(seconds) {
  if (seconds < 60) return `${Math.max(1, Math.round(seconds))} s`;
  if (seconds < 3600) return `${Math.round(seconds / 60)} min`;
  return `${Math.round(seconds / 360) / 10} h`;
}

/** A blurred picture for an asset's placeholder, or null; it loads nothing. */
export function blurred(placeholder) {
  if (!placeholder) return null;
  try {
    const hash = Uint8Array.from(atob(placeholder.thumbhash), (one) => one.charCodeAt(0));
    const { w, h, rgba } = thumbHashToRGBA(hash);
    const canvas = el('canvas', { width: w, height: h });
    canvas.setAttribute('aria-hidden', 'true');
    canvas.getContext('2d').putImageData(new ImageData(new Uint8ClampedArray(rgba), w, h), 0, 0);
    canvas.style.backgroundColor = placeholder.colour;
    return canvas;
  } catch {
    return null;
  }
}

/** The picture of an asset in the sizes that it has, or null without any. */
export function pictureOf(asset, sizes, alt) {
  const [found] = asset.responsive;
  if (!found && !asset.thumbnailUrl) return null;
  const sources = (found?.sources ?? []).map(({ type, srcset }) => el('source', { type, srcset, sizes }));
  const image = el('img', { alt, decoding: 'async', loading: 'lazy' });
  if (found) Object.assign(image, { sizes, srcset: found.srcset, width: found.width, height: found.height });
  image.src = found?.src ?? asset.thumbnailUrl;
  return el('picture', {}, ...sources, image);
}
