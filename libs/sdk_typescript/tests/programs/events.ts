// Prints the events of the company until it is ended, a line of JSON each.

import { MediaPipeline } from "media-pipeline";

const { MEDIA_URL = "", TOKEN = "" } = process.env;
for await (const event of new MediaPipeline(MEDIA_URL, TOKEN).events()) console.log(JSON.stringify(event));
