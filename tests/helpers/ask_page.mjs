// Prints a page once its body says that it is ready: node ask_page.mjs CHROMIUM ADDRESS FLAG ...

import { createRequire } from "node:module";

const require = createRequire(new URL("../../tools/node/", import.meta.url));
const [executablePath, address, ...args] = process.argv.slice(2);
const browser = await require("puppeteer-core").launch({ executablePath, args });
try {
  const page = await browser.newPage();
  page.on("console", (message) => console.error(message.text()));
  await page.goto(address);
  await page.waitForSelector("body[data-ready=yes]", { timeout: 150_000 });
  console.log(await page.content());
} finally {
  await browser.close();
}
