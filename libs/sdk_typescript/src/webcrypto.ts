/** The Web Cryptography API of browsers, whose `subtle` is there on secure origins alone. */

export const webcrypto: { subtle?: SubtleCrypto; getRandomValues: Crypto["getRandomValues"] } = globalThis.crypto;
