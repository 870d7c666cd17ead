// One visit: the conversation with an agent, over as many WebSockets as it takes. Knows no terminal
// and no page; its owner gets what happens (`view`), and takes what is shown.

import {INPUT_WINDOW, INTERACTIVE_WINDOW, PIPE_WINDOW, Peer, ProtocolError, STDIN} from "./wire.js";

const PULL = 1 << 16; // bytes handed to the WebSocket at a time
const HIGH_WATER = 1 << 18; // bytes that may wait in it: more is not asked for
const HEARTBEAT_MS = 15000, DEAD_MS = 45000, TYPED_DEAD_MS = 10000, ANSWER_MS = 25000;
const BACKOFF_FIRST_MS = 200, BACKOFF_MOST_MS = 5000;
const TYPED_MOST = 4 << 20; // bytes typed or pasted that nobody has taken yet

export class Session {
  // `view`: joined(visit), greeted(welcome, fresh), data(stream, offset, bytes, taken),
  // gap(stream, start, end), control(message), ended(stream), state(word), over(text, final).
  constructor(url, token, view, storage) {
    this.url = url;
    this.token = token;
    this.view = view;
    this.storage = storage;
    this.peer = new Peer();
    this.secret = null; // of the attachment, once there is one
    this.visit = null;
    this.socket = null;
    this.attempts = 0;
    this.stop = false;
    this.heard = this.typed = 0;
    this.timer = setInterval(() => this.beat(), 2500);
    this.draining = null;
  }

  start() {
    this.connect();
  }

  now() {
    return performance.now();
  }

  connect() {
    this.retry = null;
    if (this.stop || this.socket) return;
    this.view.state(this.peer.joined ? "reconnecting" : "connecting");
    const socket = this.socket = new WebSocket(this.url);
    socket.binaryType = "arraybuffer";
    this.heard = this.now();
    socket.onopen = () => socket.send(JSON.stringify(this.first()));
    socket.onmessage = (event) => socket === this.socket && this.came(event.data);
    socket.onclose = () => socket === this.socket && this.lost();
  }

  // The only message with a secret of the share: never in an address, never in a log.
  first() {
    if (this.secret) return {v: 1, resume: this.secret, op: this.peer.joined ? "resume" : "attach"};
    const before = this.storage?.getItem("visit");
    return before ? {v: 1, again: before, token: this.token} : {v: 1, token: this.token};
  }

  came(data) {
    this.heard = this.now();
    this.typed = 0;
    try {
      if (typeof data === "string") this.word(JSON.parse(data));
      else this.bytes(new Uint8Array(data));
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.broke = (this.broke ?? 0) + 1; // a link ends, never the session, unless each one does
      if (this.broke > 4) this.finish(`the agent keeps breaking the protocol (${error.message})`);
      else this.lost();
    }
  }

  word(message) {
    if (message.t === "visit") {
      if (message.secret !== this.secret) { // a new attachment
        this.secret = message.secret;
        this.visit = message;
        this.storage?.setItem("visit", message.secret);
        this.peer = new Peer();
        this.view.joined(message);
      }
      this.peer.linkUp({op: this.peer.joined ? "resume" : "attach", secret: this.secret, since: null});
      this.pump();
    } else if (message.t === "unknown") { // the gateway has forgotten us: as if for the first time
      this.anew();
    } else if (message.t === "over") {
      this.finish(String(message.message), message.code);
    } // else: `again`, and the gateway closes
  }

  anew() {
    this.secret = null;
    this.storage?.removeItem("visit");
    this.lost();
  }

  bytes(chunk) {
    for (let events = this.peer.receive(chunk); events.length;) {
      const event = events.shift();
      if (event.event === "greeted") {
        this.greeted(event.message);
        events = [...this.peer.adopt(event.message), ...events];
      } else {
        this.happened(event);
      }
      if (!this.socket) return;
    }
    this.pump();
  }

  greeted(welcome) {
    this.attempts = 0;
    const window = welcome.pty ? INTERACTIVE_WINDOW : PIPE_WINDOW;
    const fresh = !this.peer.sending(STDIN);
    if (fresh) this.peer.addSend(STDIN, INPUT_WINDOW);
    for (const [id, at] of Object.entries(welcome.start ?? {})) {
      const number = Number(id), kind = (number - 1) % 4;
      if (!(kind === 2 || kind === 3) || !Number.isSafeInteger(at) || at < 0) {
        throw new ProtocolError("bad-greeting", "start");
      }
      this.peer.addRecv(number, window, at);
    }
    this.view.greeted(welcome, fresh);
    this.view.state("connected");
  }

  happened(event) {
    const {stream} = event;
    if (event.event === "data") {
      this.view.data(stream, event.offset, event.data, () => this.taken(stream, event.data.length));
    } else if (event.event === "gap") {
      this.view.gap(stream, event.start, event.end);
      this.taken(stream, event.end - event.start);
    } else if (event.event === "control") {
      this.view.control(event.message);
    } else if (event.event === "end") {
      this.view.ended(stream);
    } else if (event.event === "ended") {
      this.bye(event.code, event.reason);
    }
  }

  bye(code, reason) {
    const fresh = code === "gone" && this.peer.joined; // who resumes may come too late: look anew
    if (code === "again") this.lost();
    else if (fresh) this.anew();
    else this.finish(reason || BYES[code] || `the agent ended the session: ${code}`, code);
  }

  // The page has shown so many bytes more: only now may the agent send as many.
  taken(stream, count) {
    this.peer.consume(stream, count);
    this.pump();
  }

  say(message) {
    this.peer.say(message);
    this.pump();
  }

  // What was typed, kept until the agent has it. False: too much waits already.
  type(bytes) {
    const stream = this.peer.sending(STDIN);
    if (!stream || stream.stopped || stream.end - stream.acked + bytes.length > TYPED_MOST) return false;
    this.peer.write(STDIN, bytes);
    if (!this.typed) this.typed = this.now();
    this.pump();
    return true;
  }

  pump() {
    const socket = this.socket;
    while (socket?.readyState === WebSocket.OPEN && socket.bufferedAmount < HIGH_WATER) {
      const out = this.peer.pull(PULL);
      if (!out.length) return;
      for (const piece of out) socket.send(piece);
    }
    if (socket?.readyState === WebSocket.OPEN) { // a WebSocket does not say when it has room again
      this.draining ??= setTimeout(() => { this.draining = null; this.pump(); }, 50);
    }
  }

  beat() {
    if (this.stop || !this.socket) return;
    const silent = this.now() - this.heard;
    const most = this.peer.greeted ? DEAD_MS : ANSWER_MS;
    if (silent > most || (this.typed && this.now() - this.typed > TYPED_DEAD_MS && silent > TYPED_DEAD_MS)) {
      this.lost();
    } else if (this.peer.greeted && (silent > HEARTBEAT_MS || (this.typed && silent > 3000))) {
      this.peer.ping(Math.floor(this.now()));
      this.pump();
    }
  }

  // The link broke; what was typed and shown is remembered by position.
  lost() {
    const socket = this.socket;
    this.socket = null;
    this.typed = 0;
    this.peer.linkLost();
    if (socket) {
      socket.onclose = null;
      socket.close();
    }
    if (this.stop || this.retry) return;
    this.view.state(this.peer.joined ? "reconnecting" : "connecting");
    const wait = Math.min(BACKOFF_MOST_MS, BACKOFF_FIRST_MS * 1.6 ** Math.min(this.attempts++, 20));
    this.retry = setTimeout(() => this.connect(), wait * (0.5 + Math.random()));
  }

  // A click on "now", or the network is back.
  hurry() {
    if (!this.retry) return;
    clearTimeout(this.retry);
    this.attempts = 0;
    this.connect();
  }

  finish(text, code = "") {
    if (this.stop) return;
    this.close();
    if (code !== "done") this.storage?.removeItem("visit");
    this.view.over(text, code);
  }

  // Leave for good; with a code, say so.
  close(code = "") {
    this.stop = true;
    clearInterval(this.timer);
    const socket = this.socket;
    this.socket = null;
    if (socket) {
      socket.onclose = null;
      if (code && socket.readyState === WebSocket.OPEN && this.peer.linked) {
        this.peer.bye(code);
        for (const piece of this.peer.pull(PULL)) socket.send(piece);
      }
      socket.close(1000);
    }
  }
}

const BYES = {
  gone: "the session is not there any more",
  denied: "the agent refused",
  shutdown: "the agent was stopped",
  revoked: "the right to be here was withdrawn",
};
