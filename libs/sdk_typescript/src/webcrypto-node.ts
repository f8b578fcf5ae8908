/** The Web Cryptography API of Node, which has no global one before version 19. */

import { webcrypto as nodes } from "node:crypto";

export const webcrypto = nodes as Crypto;
