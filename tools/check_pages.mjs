// Opens pages in headless Chromium, as a desktop and as a phone, light and dark; asks axe-core for
// violations (contrast among them), and takes pictures.
//
//     node tools/check_pages.mjs PICTURES PAGE.html ...
//
// A page is a file, or an address of a server on this machine: the site has its search only there.
//
// Prints a line for each violation and exits with 1 if there are any. Needs what
// `npm ci --prefix tools/node` installs, and Chromium.

import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";

const require = createRequire(new URL("./node/", import.meta.url));
const puppeteer = require("puppeteer-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const SIZES = {
  desktop: { width: 1280, height: 900 },
  phone: { width: 390, height: 844, isMobile: true, hasTouch: true },
};

const [folder, ...pages] = process.argv.slice(2);
mkdirSync(folder, { recursive: true });
const browser = await puppeteer.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"],
});
let violations = 0;
let looks = 0;
for (const file of pages) {
  for (const [size, viewport] of Object.entries(SIZES)) {
    for (const scheme of ["light", "dark"]) {
      const context = await browser.createBrowserContext(); // the site remembers its colours
      const page = await context.newPage();
      await page.setViewport(viewport);
      await page.emulateMediaFeatures([
        { name: "prefers-color-scheme", value: scheme },
        { name: "prefers-reduced-motion", value: "reduce" },
      ]);
      const address = file.startsWith("http://127.0.0.1") ? file : pathToFileURL(file).href;
      await page.goto(address, { waitUntil: "load" });
      const name = [path.basename(path.dirname(file)), path.basename(file, ".html"), size, scheme];
      await page.screenshot({ path: path.join(folder, `${name.join("-")}.png`) });
      await page.evaluate(axe);
      const found = await page.evaluate(() => window.axe.run());
      const wide = await page.evaluate(
        () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
      );
      if (wide > 0) found.violations.push({ id: "scrolls-sideways", nodes: [{ html: `${wide} px` }] });
      for (const { id, nodes } of found.violations) {
        violations += 1;
        console.log(`${name.join(" ")}: ${id}, ${nodes.length} times: ${JSON.stringify(nodes.map((node) => node.html.replace(/\s+/g, " ").slice(0, 110)).slice(0, 3))}`);
      }
      looks += 1;
      await context.close();
    }
  }
}
await browser.close();
console.log(`${looks} looks at ${pages.length} pages: ${violations} violations`);
process.exit(violations ? 1 : 0);
