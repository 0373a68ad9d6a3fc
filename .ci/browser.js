// The words that .ci/page and .ci/picture are written in. They drive Debian's Chromium and Firefox, with
// puppeteer-core. The first run installs that, in this exact version, into a folder outside the repository.
"use strict";
const { execFileSync, spawn } = require("node:child_process");
const fs = require("node:fs"), http = require("node:http"), os = require("node:os"), path = require("node:path");

const driver = "puppeteer-core@24.43.1"; // the last one for Debian's node 18
const cache = path.join(os.tmpdir(), "authflow-" + driver);
const browsers = { chrome: "chromium", firefox: "firefox-esr" };

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const folder = () => fs.mkdtempSync(path.join(os.tmpdir(), "authflow-page-"));
const folders = [], programs = [], servers = [];
let page; // the tab
let binary = ""; // the program, built once
let service; // the program that runs now: { url, users, process }

function newFolder() {
	folders.push(folder());
	return folders.at(-1);
}

function puppeteer() {
	if (!fs.existsSync(path.join(cache, "installed"))) {
		const options = ["--no-audit", "--no-fund", "--ignore-scripts", "--silent"];
		execFileSync("npm", ["install", "--prefix", cache, ...options, driver], { stdio: "inherit" });
		fs.writeFileSync(path.join(cache, "installed"), "");
	}
	return require(path.join(cache, "node_modules", "puppeteer-core"));
}

// launch starts a browser with one tab. Colours are light, whatever the desktop says.
async function launch(name) {
	const args = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
		"--disable-background-networking", "--disable-component-update"];
	const browser = await puppeteer().launch({
		browser: name,
		executablePath: "/usr/bin/" + browsers[name],
		args: name === "chrome" ? args : [],
		extraPrefsFirefox: { "layout.css.prefers-color-scheme.content-override": 1 },
	});
	page = await browser.newPage();
	return { browser, page };
}

// start starts the program on a free port, with a users file of its own, and opens its page.
async function start(...flags) {
	if (!binary) {
		binary = path.join(newFolder(), "authflow");
		execFileSync("go", ["build", "-o", binary, "."], { cwd: path.dirname(__dirname), stdio: "inherit" });
	}
	const users = path.join(newFolder(), "users.json");
	const program = spawn(binary, ["-addr", "127.0.0.1:0", "-users", users, ...flags],
		{ stdio: ["ignore", "ignore", "pipe"] });
	programs.push(program);
	let log = "";
	const url = await new Promise((done, fail) => {
		program.stderr.on("data", (text) => {
			log += text;
			const match = /msg=listening url=(\S+)/.exec(log);
			if (match) done(match[1]);
		});
		program.on("exit", () => fail(Error("the program ended:\n" + log)));
	});
	service = { url, users, program };
	return service;
}

async function open(url, width, height) {
	if (width) await page.setViewport({ width, height });
	await page.goto(url);
}

async function kill() {
	service.program.removeAllListeners("exit");
	const ended = new Promise((done) => service.program.on("exit", done));
	service.program.kill("SIGKILL");
	await ended;
}

// serve answers as a server of another origin.
async function serve(answer) {
	const server = http.createServer(answer);
	servers.push(server);
	await new Promise((done) => server.listen(0, "127.0.0.1", done));
	return "http://127.0.0.1:" + server.address().port;
}

// cleanUp ends what was started and removes what was made.
function cleanUp() {
	for (const program of programs) program.removeAllListeners("exit").kill("SIGKILL");
	for (const server of servers) server.closeAllConnections?.(), server.close();
	for (const name of folders) fs.rmSync(name, { recursive: true, force: true });
}

// What is typed, clicked and seen. A name is what a user reads: the text of a button or the label of a field. It may be
// a selector, too. inPage calls a function in the page.
const find = `
	const elements = [...document.querySelectorAll("button, label")];
	function named(name) {
		const element = elements.find(({ textContent }) => textContent.trim() === name);
		return element?.control ?? element ?? document.querySelector(name);
	}
`;
const inPage = (code, ...args) =>
	page.evaluate(new Function("...args", find + "return (" + code + ")(...args);"), ...args);

const text = (selector = "#verdict") => page.$eval(selector, (element) => element.textContent.trim());
const value = (name) => inPage((name) => named(name).value, name);

// see waits up to five seconds until an element has a text.
async function see(want, selector) {
	let came;
	for (let i = 0; i < 500; i++) {
		came = await text(selector);
		if (came.includes(want)) return;
		await sleep(10);
	}
	throw Error((selector ?? "#verdict") + " shows: " + came + "\n  want: " + want);
}

// click clicks with the mouse, as a user can: nothing may lie over the button. Then it waits for a text.
async function click(name, want) {
	const at = await inPage((name) => {
		const button = named(name);
		if (!button) return name + " is not there";
		button.scrollIntoView({ block: "center" });
		const { left, top, width, height } = button.getBoundingClientRect();
		const x = left + width / 2, y = top + height / 2;
		const hit = document.elementFromPoint(x, y);
		return hit === button || button.contains(hit) ? { x, y } : name + " lies under " + hit?.outerHTML;
	}, name);
	if (!at.x) throw Error(at);
	await page.mouse.click(at.x, at.y);
	if (want !== undefined) await see(want);
}

// type replaces the text of a field, as a paste does.
async function type(name, text) {
	await inPage((name, text) => {
		const field = named(name);
		field.focus();
		field.value = text;
		field.dispatchEvent(new Event("input", { bubbles: true }));
	}, name, text);
}

const press = async (...keys) => { for (const key of keys) await page.keyboard.press(key); };

// edit changes the payload in the editor of the page. editUsers changes the users file.
const edit = async (before, after) => type("#payload-json", (await value("#payload-json")).replace(before, after));

function editUsers(before, after) {
	const old = fs.readFileSync(service.users, "utf8"), edited = old.replace(before, after);
	if (edited === old) throw Error("the users file has no " + before + ":\n" + old);
	fs.writeFileSync(service.users, edited);
}

function equal(came, want) {
	if (came !== want) throw Error("came: " + came + "\n  want: " + want);
}

// ---- Parts, steps and failures ----

const parts = [];
let steps = 0, said = [];

// part names steps. They run in a fresh tab, with the page of a fresh program; null starts none.
const part = (name, flags, steps) => parts.push({ name, flags, steps });

// counted makes a word count as a step, and remember the line that it stands on.
function counted(word) {
	return (...args) => {
		const line = /page:(\d+):/.exec(Error().stack)?.[1];
		const at = (error) => { throw Object.assign(error, { line }); };
		steps++;
		try {
			const result = word(...args);
			return result instanceof Promise ? result.catch(at) : result;
		} catch (error) {
			at(error);
		}
	};
}

// explainFailure begins with the promise: the nearest comment above the line.
function explainFailure(error) {
	const lines = fs.readFileSync(path.join(__dirname, "page"), "utf8").split("\n");
	const at = error.line ?? /page:(\d+):/.exec(error.stack)?.[1];
	if (!at) return error.stack;
	let above = at - 1;
	while (above > 0 && !/^\s*\/\/ /.test(lines[above])) above--;
	while (/^\s*\/\/ /.test(lines[above - 1])) above--; // a promise of two lines
	const promise = [];
	for (; /^\s*\/\/ /.test(lines[above]); above++) promise.push(lines[above].trim().slice(3));
	return promise.join(" ") + "\n  step: " + lines[at - 1].trim() + " (.ci/page:" + at + ")\n  " + error.message;
}

async function runIn(name, wanted) {
	const { browser } = await launch(name), version = await browser.version(), before = steps;
	let failures = 0;
	for (const { name: title, flags, steps } of parts.filter(({ name }) => name.includes(wanted))) {
		page = await browser.newPage();
		said = [];
		page.on("pageerror", (error) => said.push(error.message));
		page.on("console", (message) => said.push(message.text()));
		try {
			await page.setViewport({ width: 1280, height: 720 });
			const service = flags && await start("-cost", "4", ...flags);
			if (service) await open(service.url + "/docs", 1280, 720);
			await steps(service);
			said = said.filter((line) => !/status of [45]|Failed to load resource|CORS|Cross-Origin/.test(line));
			if (said.length) throw Error("The page must say nothing in the console.\n  came: " + said.join("\n"));
		} catch (error) {
			failures++;
			console.log("\n" + version + ", " + title + ": " + explainFailure(error));
		}
		await page.close();
	}
	await browser.close();
	const failed = failures ? ", " + failures + " parts failed" : "";
	console.log("page: " + (steps - before) + " steps in " + version + failed);
	return failures === 0 && steps > before;
}

// run runs the parts in both browsers. It fails if a step fails, or if a browser ran no step.
async function run() {
	const [only = "", wanted = ""] = process.argv.slice(2);
	let good = true;
	try {
		for (const name in browsers) if (name.includes(only.toLowerCase())) good = await runIn(name, wanted) && good;
	} finally {
		cleanUp();
	}
	process.exit(good && steps > 0 ? 0 : 1);
}

const words = { inPage, text, value, see, click, type, press, edit, editUsers, equal, kill };
for (const name in words) words[name] = counted(words[name]);
module.exports = { ...words, launch, start, open, serve, sleep, cleanUp, part, run, tab: () => page };
