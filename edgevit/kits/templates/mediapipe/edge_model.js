// Web. npm install @mediapipe/tasks-vision, then serve this folder; no address from outside is used.
// These lines were not run by edgevit.
import { FilesetResolver, @PICTURE_TASK@ } from "./node_modules/@mediapipe/tasks-vision/vision_bundle.mjs";

const files = await FilesetResolver.forVisionTasks("./node_modules/@mediapipe/tasks-vision/wasm");
const task = await @PICTURE_TASK@.createFromOptions(files, {
  baseOptions: { modelAssetPath: "./@FILE@" },
@WEB_OPTIONS@});

/** An <img>, <video> or <canvas> of any size. */
export const run = (picture) => task.@VERB@(picture);
