// Opens pages in headless Chromium, as a desktop and as a phone, light and dark; asks axe-core for
// violations (contrast among them), and takes pictures.
//
//     node tools/check_pages.mjs PICTURES PAGE.html|FOLDER ...
//
// A folder is served on this machine, and each of its pages is looked at. The search of a site is opened
// too and must find something, and the page of a browser's kit must pass its self-test.
//
// Prints a line for each violation and exits with 1 if there are any. Needs what
// `npm ci --prefix tools/node` installs, and Chromium.

import { existsSync, mkdirSync, readFileSync, readdirSync, statSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { availableParallelism } from "node:os";
import path from "node:path";
import { pathToFileURL } from "node:url";

const require = createRequire(new URL("./node/", import.meta.url));
const puppeteer = require("puppeteer-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const SIZES = {
  desktop: { width: 1280, height: 900 },
  phone: { width: 390, height: 844, isMobile: true, hasTouch: true },
};
const LOOKS = Object.keys(SIZES).flatMap((size) => [{ size, scheme: "light" }, { size, scheme: "dark" }]);
const TYPES = {
  ".css": "text/css", ".html": "text/html", ".js": "text/javascript", ".json": "application/json",
  ".mjs": "text/javascript", ".png": "image/png", ".svg": "image/svg+xml", ".wasm": "application/wasm",
};
// What a folder is known by -> a page to look at once more, in use, and what it must show then.
const IN_USE = {
  "search/search_index.json": ["index.html?q=calibration", ".md-search-result__item"],
  "kit.json": ["index.html?self-test&sample=0", "[data-verdict=pass]"],
};
const WAIT_MS = 60_000;

/** The address of a server for a folder, on this machine alone. */
async function serve(folder) {
  const server = createServer((request, response) => {
    const name = path.normalize(decodeURIComponent(new URL(request.url, "http://127.0.0.1").pathname));
    try {
      const body = readFileSync(path.join(folder, name));
      response.writeHead(200, { "content-type": TYPES[path.extname(name)] ?? "application/octet-stream" });
      response.end(body);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
  server.unref();
  return `http://127.0.0.1:${server.address().port}`;
}

/** The pages of a folder: {name, address, shows} of each. */
async function listPages(folder) {
  const address = await serve(folder);
  const names = readdirSync(folder, { recursive: true })
    .filter((name) => name.endsWith(".html") && !name.includes("node_modules"))
    .sort()
    .map((name) => [name]);
  const used = Object.keys(IN_USE).filter((mark) => existsSync(path.join(folder, mark)));
  return [...names, ...used.map((mark) => IN_USE[mark])].map(([name, shows]) => ({
    name, address: `${address}/${name}`, shows,
  }));
}

function nameFile(file) {
  const name = path.join(path.basename(path.dirname(path.resolve(file))), path.basename(file));
  return { name, address: pathToFileURL(file).href };
}

/** What is wrong with a page that is open: [rule, elements]. */
async function findViolations(page, shows) {
  const found = [];
  if (shows) {
    const wait = page.waitForSelector(shows, { timeout: WAIT_MS });
    await wait.catch(() => found.push(["does-not-work", [shows]]));
  }
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => window.axe.run());
  for (const { id, nodes } of violations) found.push([id, nodes.map((node) => node.html)]);
  const wide = await page.evaluate(
    () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
  );
  if (wide > 0) found.push(["scrolls-sideways", [`${wide} px`]]);
  return found;
}

function describe([rule, elements]) {
  const shown = elements.slice(0, 3).map((html) => html.replace(/\s+/g, " ").slice(0, 110));
  return `${rule}, ${elements.length} times: ${JSON.stringify(shown)}`;
}

/** Looks once at a page; returns a line for each violation. */
async function look(browser, pictures, { name, address, shows }, { size, scheme }) {
  const context = await browser.createBrowserContext(); // the site remembers its colours
  const page = await context.newPage();
  await page.setViewport(SIZES[size]);
  await page.emulateMediaFeatures([
    { name: "prefers-color-scheme", value: scheme },
    { name: "prefers-reduced-motion", value: "reduce" },
  ]);
  await page.goto(address, { waitUntil: "load" });
  const found = await findViolations(page, shows);
  const picture = `${name.replace(".html", "").replace(/[^\w.-]+/g, "-")}-${size}-${scheme}.png`;
  await page.screenshot({ path: path.join(pictures, picture) });
  await context.close();
  return found.map((one) => `${name} ${size} ${scheme}: ${describe(one)}`);
}

const [pictures, ...wanted] = process.argv.slice(2);
mkdirSync(pictures, { recursive: true });
const pages = [];
for (const file of wanted) {
  pages.push(...(statSync(file).isDirectory() ? await listPages(file) : [nameFile(file)]));
}
const browser = await puppeteer.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"],
});
const left = pages.flatMap((page) => LOOKS.map((how) => [page, how]));
const looks = left.length;
let violations = 0;

async function work() {
  while (left.length) {
    for (const line of await look(browser, pictures, ...left.shift())) {
      violations += 1;
      console.log(line);
    }
  }
}

await Promise.all(Array.from({ length: availableParallelism() }, work));
await browser.close();
console.log(`${looks} looks at ${pages.length} pages: ${violations} violations`);
process.exit(violations || !looks ? 1 : 0);
