// What a session prints, in an xterm.js. Knows no network.
//
// A terminal answers questions (which are you, where is the cursor): who only looks on must not,
// and nobody must answer those of the past. Questions are not shown to it at all then, which leaves
// alone what is typed meanwhile.

import {FitAddon} from "./vendor/addon-fit.mjs";
import {Terminal} from "./vendor/xterm.mjs";

const FONT = "ui-monospace, 'DejaVu Sans Mono', 'Cascadia Mono', Menlo, Consolas, monospace";
const SMALLEST = 5, LARGEST = 40;
const SCROLLBACK = 5000;
const THEMES = {
  dark: {background: "#10131a", foreground: "#d5dae3", cursor: "#d5dae3", selectionBackground: "#3b5070"},
  light: {
    background: "#ffffff", foreground: "#1d2330", cursor: "#1d2330", selectionBackground: "#b9d4ff",
    yellow: "#8a6500", brightYellow: "#8a6500", white: "#555b66", brightWhite: "#1d2330",
    green: "#1b7a3f", brightGreen: "#1b7a3f", cyan: "#0b7285", brightCyan: "#0b7285",
    blue: "#1f4fbf", brightBlue: "#1f5fbf",
  },
};

export class Screen {
  // `typed(bytes)` gets what the user types; `titled(text)` what the program calls itself.
  constructor(element, typed, titled) {
    this.element = element;
    this.past = 0; // pieces of history that xterm.js has not parsed yet
    this.answers = false; // this terminal is the program's
    this.size = null; // [rows, cols] of the program's terminal, if it is not ours
    this.font = 15;
    const term = this.term = new Terminal({
      fontFamily: FONT, fontSize: this.font, scrollback: SCROLLBACK, allowProposedApi: true,
      macOptionIsMeta: true, theme: THEMES.dark, linkHandler: {activate: () => {}},
    });
    this.fit = new FitAddon();
    term.loadAddon(this.fit);
    this.quieten();
    term.open(element);
    const encoder = new TextEncoder();
    term.onData((text) => typed(encoder.encode(text)));
    term.onBinary((text) => typed(Uint8Array.from(text, (c) => c.charCodeAt(0) & 255)));
    term.onTitleChange((text) => titled(clean(text)));
    term.onSelectionChange(() => this.copy());
  }

  get silent() {
    return !this.answers || this.past > 0;
  }

  quieten() {
    const parser = this.term.parser, hush = () => this.silent;
    const csi = [
      {final: "c"}, {prefix: ">", final: "c"}, {prefix: "=", final: "c"}, {final: "n"}, {prefix: "?", final: "n"},
      {intermediates: "$", final: "p"}, {prefix: "?", intermediates: "$", final: "p"}, {final: "x"},
      {prefix: ">", final: "q"}, {prefix: "?", final: "u"}, {final: "t"}, {prefix: "?", final: "S"},
    ];
    for (const id of csi) parser.registerCsiHandler(id, hush);
    for (const id of [{intermediates: "$", final: "q"}, {intermediates: "+", final: "q"}]) {
      parser.registerDcsHandler(id, hush);
    }
    for (const id of [4, 5, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19]) {
      parser.registerOscHandler(id, (text) => this.silent && text.includes("?"));
    }
    parser.registerOscHandler(52, () => true); // the clipboard is the user's
  }

  // `taken` is called when it is on the screen's books: credit for the sender.
  write(bytes, taken, past = false) {
    if (past) this.past++;
    this.term.write(bytes, () => {
      if (past) this.past--;
      taken?.();
    });
  }

  note(text) {
    this.term.write(`\x18\r\n\x1b[0;2m[${clean(text)}]\x1b[0m\r\n`);
  }

  clear() {
    this.term.reset();
  }

  // Ours is the program's terminal: as large as the window. Else as large as the program's.
  owns(on) {
    this.answers = on;
    this.term.options.disableStdin = !on;
    this.term.options.cursorBlink = on;
    this.layout();
  }

  sized(rows, cols) {
    this.size = rows > 0 && cols > 0 ? [Math.min(rows, 500), Math.min(cols, 1000)] : null;
    this.layout();
  }

  layout() {
    const term = this.term;
    const boxed = !this.answers && this.size !== null;
    this.element.classList.toggle("letterbox", boxed);
    this.element.classList.toggle("fit", !boxed);
    if (!boxed) {
      term.options.fontSize = this.font;
      this.fit.fit();
      return;
    }
    const [rows, cols] = this.size;
    if (term.rows !== rows || term.cols !== cols) term.resize(cols, rows);
    // Cells are measured, whatever the font: as large as fits, in half pixels.
    const cell = term.element.querySelector(".xterm-screen").getBoundingClientRect();
    const room = this.element.getBoundingClientRect();
    if (!cell.width || !room.width) return;
    const grow = Math.min((room.width - 24) / cell.width, (room.height - 6) / cell.height);
    const size = Math.floor(term.options.fontSize * grow * 2) / 2;
    term.options.fontSize = Math.max(SMALLEST, Math.min(this.most ?? 22, size));
  }

  larger(step) {
    const now = Math.max(8, Math.min(LARGEST, (this.answers || !this.size ? this.font : this.term.options.fontSize) + step));
    this.font = this.most = now;
    this.layout();
    return now;
  }

  theme(name) {
    this.term.options.theme = THEMES[name];
  }

  copy() {
    const text = this.term.getSelection();
    if (text && navigator.clipboard) navigator.clipboard.writeText(text).catch(() => {});
  }

  focus() {
    this.term.focus();
  }
}

// Text from elsewhere, on one line, without what turns or hides text.
export function clean(text, most = 200) {
  const odd = /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;
  return String(text ?? "").slice(0, most * 4).replace(odd, "").slice(0, most);
}
