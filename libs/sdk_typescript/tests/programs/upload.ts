// Uploads the file that is named, and prints what it was told of: {"bytes": …} and at last {"assetId": …}.

import { MediaPipeline } from "media-pipeline";
import { openFile } from "media-pipeline/node";

const { MEDIA_URL = "", TOKEN = "" } = process.env;
const [, , path = ""] = process.argv;
const media = new MediaPipeline(MEDIA_URL, TOKEN);
const print = (told: object): void => console.log(JSON.stringify(told));
const assetId = await media.upload(await openFile(path), { onBytes: (bytes) => print({ bytes }) });
print({ assetId });
