// Prints the fingerprint of each file that is named, a line each.

import { fingerprintOf } from "media-pipeline";
import { openFile } from "media-pipeline/node";

for (const path of process.argv.slice(2)) console.log(await fingerprintOf(await openFile(path)));
