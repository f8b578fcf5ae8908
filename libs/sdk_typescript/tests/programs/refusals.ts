// Uploads the broken photo that is named, and prints the codes of what is refused.

import { AssetFailedError, MediaError, MediaPipeline, type UploadOptions } from "media-pipeline";
import { openFile } from "media-pipeline/node";

const { MEDIA_URL = "", TOKEN = "" } = process.env;
const [, , path = ""] = process.argv;
const media = new MediaPipeline(MEDIA_URL, TOKEN);
const photo = await openFile(path);

async function refusal(work: Promise<unknown>): Promise<object> {
  try {
    await work;
    return {};
  } catch (error) {
    if (!(error instanceof MediaError)) throw error;
    const { name, code, status, message } = error;
    return { name, code, status, message, asset: error instanceof AssetFailedError && error.asset.status };
  }
}

const asked = (options: UploadOptions): Promise<object> => refusal(media.upload(photo, options));
const assetId = await media.upload(photo);
console.log(JSON.stringify({
  broken: await refusal(media.wait(assetId)),
  profile: await asked({ profile: "none-such" }),
  type: await asked({ contentType: "text/html" }),
  deleted: await refusal(media.delete(assetId)),
  gone: await refusal(media.asset(assetId)),
}));
