// The page: a terminal that fills the window, and a line that says what it is.

import {Session} from "./session.js";

// Strict about style sheets, too: xterm.js makes its own, which get the page's nonce.
const nonce = document.querySelector("meta[name=nonce]").content;
const make = document.createElement.bind(document);
document.createElement = (name, options) => {
  const element = make(name, options);
  if (String(name).toLowerCase() === "style") element.nonce = nonce;
  return element;
};
const {Screen, clean} = await import("./terminal.js");

const $ = (id) => document.getElementById(id);
const RESIZE_MS = 80;
let visit = null, welcome = null, writes = false, over = false;
let live = {}; // stream -> where the present began
const torn = new Set(); // streams that begin amid something
let exits = 0;

const storage = sessionStorage;
const token = takeToken();
const screen = new Screen($("screen"), typed, titled);
const session = new Session(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`, token, {
  joined, greeted, data, gap, control, ended, state, over: isOver,
}, storage);

// The secret is in the fragment, which browsers send to nobody; it need not stay in sight either.
function takeToken() {
  const given = decodeURIComponent(location.hash.slice(1)).replace(/^share\./, "");
  if (given) {
    if (storage.getItem("token") !== given) storage.removeItem("visit");
    storage.setItem("token", given);
    history.replaceState(null, "", location.pathname);
  }
  return given || storage.getItem("token") || "";
}

function joined(found) {
  visit = found;
  welcome = null;
  live = {};
  exits = 0;
  torn.clear();
  screen.clear();
  screen.owns(false);
}

function greeted(message, fresh) {
  welcome = message;
  if (!fresh) return;
  for (const [id, at] of Object.entries(message.start ?? {})) if (at) torn.add(Number(id));
  live = message.live ?? {};
  screen.term.options.convertEol = !message.pty;
  writer(message.writer === true);
  $("job").textContent = `job ${clean(visit.job, 24)} ${clean(message.name, 60)}`;
  if (message.size > 1) $("title").textContent = `member 1 of ${Number(message.size)}`;
  screen.focus();
}

function writer(on) {
  writes = on && visit.rights === "rw" && welcome?.state !== "ended";
  screen.owns(writes && welcome?.pty === true);
  screen.term.options.disableStdin = !writes;
  $("role").textContent = writes ? "you may type"
    : visit.rights === "rw" && welcome?.state !== "ended" ? "somebody else types" : "read-only";
  $("role").dataset.writes = writes;
  $("steal").hidden = writes || visit.rights !== "rw" || welcome?.state === "ended";
  if (writes) {
    session.say({t: "redraw", ...size()});
    screen.focus();
  }
  sizeShown();
}

function data(stream, offset, bytes, taken) {
  if (torn.delete(stream)) bytes = whole(bytes);
  const past = offset < (live[stream] ?? 0);
  screen.write(bytes, taken, past);
}

// What a terminal can begin with, where the beginning is lost.
function whole(bytes) {
  for (let at = 0; at < Math.min(bytes.length, 4096); at++) {
    if (bytes[at] === 0x1b) return bytes.subarray(at);
    if (bytes[at] === 10) return bytes.subarray(at + 1);
  }
  return bytes;
}

function gap(stream, start, end) {
  screen.note(`gap: ${end - start} bytes not kept`);
  torn.add(stream);
  if (writes && welcome?.pty) session.say({t: "redraw", ...size()});
}

function control(message) {
  if (message.t === "modes" && welcome?.pty && /^([0-9a-f]{2})*$/.test(message.prelude)) {
    screen.write(Uint8Array.from(message.prelude.match(/../g) ?? [], (two) => parseInt(two, 16)), null, true);
  } else if (message.t === "size") {
    screen.sized(message.rows, message.cols);
    sizeShown();
  } else if (message.t === "writer") {
    writer(message.on === true);
  } else if (message.t === "notice") {
    screen.note(message.text);
  } else if (message.t === "exit") {
    exits++;
    const how = message.error ? clean(message.error) : message.signal ? `signal ${Number(message.signal)}`
      : `exit status ${Number(message.code)}`;
    last = `the program has ended: ${how}`;
    done();
  }
}

let last = "";

function ended() {
  done();
}

// All is here and on the screen: the ranks have ended, and so have their streams.
function done() {
  const streams = [...session.peer.receivings.values()].filter((each) => each.id);
  if (!exits || exits < (welcome?.tasks ?? 1) || streams.some((each) => each.eof === null)) return;
  screen.term.write("", () => {
    session.close("done");
    isOver(last, "done");
  });
}

function state(word) {
  if (over) return;
  $("state").textContent = word;
  $("state").dataset.state = word;
}

function isOver(text, code) {
  state("over");
  over = true;
  writes = false;
  screen.owns(false);
  $("steal").hidden = true;
  $("role").textContent = "read-only";
  $("role").dataset.writes = false;
  $("notice-text").textContent = clean(text, 400);
  $("notice-hint").textContent = code === "done" ? "What it printed stays here until you close the page."
    : code === "link" ? "Ask who shared the job for a new link." : "";
  $("notice").dataset.code = clean(code, 20);
  $("notice").hidden = false;
}

function titled(text) {
  $("title").textContent = text;
  document.title = text ? `${text} · gshell` : "gshell";
}

function size() {
  return {rows: screen.term.rows, cols: screen.term.cols};
}

function sizeShown() {
  $("size").textContent = `${screen.term.cols}×${screen.term.rows}`;
}

function typed(bytes) {
  if (!writes || over) return;
  if (!session.type(bytes)) screen.note("too much is waiting to be sent: this was not typed");
}

let resizing = 0;
function resized() {
  clearTimeout(resizing);
  resizing = setTimeout(() => {
    const before = size();
    screen.layout();
    const now = size();
    sizeShown();
    if (writes && welcome?.pty && (before.rows !== now.rows || before.cols !== now.cols)) {
      session.say({t: "resize", ...now});
    }
  }, RESIZE_MS);
}

new ResizeObserver(resized).observe($("screen"));
addEventListener("online", () => session.hurry());
$("state").addEventListener("click", () => session.hurry());
document.addEventListener("visibilitychange", () => document.hidden || session.hurry());
addEventListener("pagehide", () => session.close("detach"));
addEventListener("pageshow", (event) => event.persisted && location.reload());
$("steal").addEventListener("click", () => session.say({t: "steal"}));
for (const [id, step] of [["smaller", -1], ["larger", 1]]) {
  $(id).addEventListener("click", () => {
    localStorage.setItem("font", screen.larger(step));
    resized();
    screen.focus();
  });
}
$("notice").addEventListener("click", () => ($("notice").hidden = true));
$("about").addEventListener("click", () => {
  const until = visit?.until ? new Date(visit.until * 1000).toLocaleString() : "";
  $("who-text").textContent = visit
    ? `Job ${clean(visit.job)} runs as ${clean(visit.owner)}; you are here by a share that ends ${until}.\n\n` +
      `This page comes from a gateway that ${clean(visit.gateway.user)} runs on ${clean(visit.gateway.host)}. The session is ` +
      `encrypted between the job and that gateway, which reads all that is shown and typed here: trust it as you trust them. ` +
      `gshell attach, in a terminal of your own, needs nobody in between.`
    : "Not connected yet.";
  $("who").showModal();
});

function themed(name) {
  document.documentElement.dataset.theme = name;
  screen.theme(name);
}
const dark = matchMedia("(prefers-color-scheme: light)").matches ? "light" : "dark";
themed(localStorage.getItem("theme") ?? dark);
$("theme").addEventListener("click", () => {
  const next = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  localStorage.setItem("theme", next);
  themed(next);
});
const font = Number(localStorage.getItem("font"));
if (font >= 8 && font <= 40) screen.font = font;
screen.owns(false);
if (token) session.start();
else isOver("this address lacks its secret: the part that begins with #", "link");
export {screen, session}; // for whoever looks from outside
