// What the server would refuse is refused before a byte is sent, with the server's own codes.
//
// rules.json is written from the contracts by `./mediactl generate`; the limit of bytes is the
// edge's. Whatever is let pass here, the server checks again.

const HEADER_BYTES = 64, TS_PACKET = 188, HEAD_BYTES = 256;
const FORBIDDEN = /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}/\\]/u;

export class Rules {
  constructor(rules, maxBytes) {
    this.maxBytes = maxBytes;
    this.maxNameCharacters = rules.maxNameCharacters;
    this.sentences = rules.sentences;
    this.aliases = rules.aliases;
    this.formats = rules.formats;
    this.familyOf = new Map();
    this.typeOfExtension = new Map();
    for (const { family, types } of rules.formats) {
      for (const [type, extensions] of Object.entries(types)) {
        this.familyOf.set(type, family);
        for (const one of extensions) this.typeOfExtension.set(one, type);
      }
    }
  }

  /** What an <input> offers to choose from. */
  get accept() {
    return [...this.familyOf.keys(), ...this.typeOfExtension.keys()].join(',');
  }

  /** The accepted type that a text names, or null. */
  plainType(text) {
    const name = text.split(';')[0].trim().toLowerCase();
    const plain = this.aliases[name] ?? name;
    return this.familyOf.has(plain) ? plain : null;
  }

  /** What a file is declared as: browsers and systems know fewer names of types than we do. */
  typeOf(name, told) {
    const at = name.lastIndexOf('.');
    const byName = at > 0 ? this.typeOfExtension.get(name.slice(at).toLowerCase()) : undefined;
    return byName ?? this.plainType(told) ?? (told || 'application/octet-stream');
  }

  /** The refusal of a file of which so much is said, or null. */
  refusalOf(name, size, type) {
    const length = [...name].length;
    if (length < 1 || length > this.maxNameCharacters || name === '.' || name === '..' || FORBIDDEN.test(name)) {
      return this.#refusal('invalid_file_name', { limit: this.maxNameCharacters });
    }
    if (!this.plainType(type)) {
      return this.#refusal('invalid_type', { accepted: [...this.familyOf.keys()].sort().join(', ') });
    }
    if (size < 1) return this.#refusal('invalid_size', {});
    if (size > this.maxBytes) return this.#refusal('file_too_large', { size, limit: this.maxBytes });
    return null;
  }

  /** The refusal of a file with these first bytes, or null where a server must look at more. */
  mismatchOf(head, type) {
    const declared = this.plainType(type), kind = declared.split('/')[0];
    const family = this.sniff(head);
    // Films of transport streams are found by more than their first bytes.
    if (family === null && kind === 'video') return null;
    const types = this.formats.find((one) => one.family === family)?.types ?? {};
    if (Object.keys(types).some((one) => one.startsWith(`${kind}/`))) return null;
    return this.#refusal('type_mismatch', { declared });
  }

  /** The family that the first bytes prove, or null. */
  sniff(head) {
    const seen = new Uint8Array(HEAD_BYTES);
    seen.set(head.slice(0, HEADER_BYTES));
    seen.set(head.slice(TS_PACKET, HEAD_BYTES), TS_PACKET);
    const has = (word, at) => word.match(/../g).every((byte, n) => seen[at + n] === parseInt(byte, 16));
    const found = this.formats.find((one) =>
      one.magics.some((magic) => magic.every(([at, word]) => has(word, at))));
    if (found) return found.family;
    const text = String.fromCharCode(...seen.slice(0, HEADER_BYTES));
    return text.slice(4, 8) === 'ftyp' ? this.#sniffBrands(text, seen) : null;
  }

  #sniffBrands(text, seen) {
    const of = (brand) => this.formats.find((one) => one.brands.includes(brand))?.family;
    const family = of(text.slice(8, 12)) ?? 'isobmff';
    if (family !== 'heif') return family;
    const length = Math.min(new DataView(seen.buffer).getUint32(0), HEADER_BYTES);
    for (let at = 16; at < length; at += 4) {
      if (of(text.slice(at, at + 4)) === 'avif') return 'avif';
    }
    return family;
  }

  #refusal(code, values) {
    return { code, message: this.sentences[code].replace(/\{(\w+)\}/g, (_, name) => values[name]) };
  }
}

/** The rules that are in force. */
export async function loadRules() {
  const answer = await fetch(new URL('rules.json', import.meta.url));
  const maxBytes = Number(document.querySelector('meta[name=max-upload-bytes]').content);
  return new Rules(await answer.json(), maxBytes);
}

/** What a file is declared as, and why it is refused: {type, refusal}. */
export async function look(rules, file) {
  const type = rules.typeOf(file.name, file.type);
  const refusal = rules.refusalOf(file.name, file.size, type);
  if (refusal) return { type, refusal };
  let head;
  try {
    head = new Uint8Array(await file.slice(0, HEAD_BYTES).arrayBuffer());
  } catch {
    return { type, refusal: { code: 'unreadable_file', message: 'The browser cannot read this file.' } };
  }
  return { type, refusal: rules.mismatchOf(head, type) };
}
