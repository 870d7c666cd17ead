// The session protocol (gshell/wire/PROTOCOL.md) at the client: bytes in, events out; no clock, no
// socket, no page. Offsets are numbers: 2^53 bytes of a terminal will never be printed.

export const DATA = 1, GRANT = 2, STOP = 3, GAP = 4, HELLO = 5, WELCOME = 6, PING = 7, PONG = 8, BYE = 9;
const MAX_FRAME = 65536, DATA_OVERHEAD = 13, HEAD = 5;
const CONTROL = 0, CONTROL_WINDOW = 1 << 20, MAX_WINDOW = 1 << 26, MAX_JSON = 1 << 18;
const MAX_OFFSET = Number.MAX_SAFE_INTEGER;
export const INTERACTIVE_WINDOW = 128 * 1024, PIPE_WINDOW = 1 << 20, INPUT_WINDOW = 1 << 20;
export const STDIN = 2;
const MOST = {
  [DATA]: MAX_FRAME + DATA_OVERHEAD, [GRANT]: 20, [STOP]: 4, [GAP]: 20,
  [HELLO]: 1 << 22, [WELCOME]: 1 << 22, [PING]: 8, [PONG]: 8, [BYE]: 1 << 14,
};
const EXACT = new Set([GRANT, STOP, GAP, PING, PONG]);

// What the other side must not send: the link ends, the session goes on.
export class ProtocolError extends Error {
  constructor(code, detail = "") {
    super(detail ? `${code}: ${detail}` : code);
    this.code = code;
  }
}

export function concat(pieces) {
  if (pieces.length === 1) return pieces[0];
  const whole = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}

function offsetAt(view, at) {
  const value = view.getBigUint64(at);
  if (value > BigInt(MAX_OFFSET)) throw new ProtocolError("bad-offset", String(value));
  return Number(value);
}

// One frame as bytes.
export function encode(frame) {
  const json = frame.type === HELLO || frame.type === WELCOME ? frame.message
    : frame.type === BYE ? {code: frame.code, reason: frame.reason} : null;
  const body = json ? new TextEncoder().encode(ascii(JSON.stringify(json))) : null;
  const length = body ? body.length
    : frame.type === DATA ? DATA_OVERHEAD + frame.data.length : MOST[frame.type];
  const bytes = new Uint8Array(HEAD + length), view = new DataView(bytes.buffer);
  view.setUint8(0, frame.type);
  view.setUint32(1, length);
  if (body) {
    bytes.set(body, HEAD);
  } else if (frame.type === PING || frame.type === PONG) {
    view.setBigUint64(HEAD, BigInt(frame.token));
  } else {
    view.setUint32(HEAD, frame.stream);
    if (frame.type === DATA) {
      view.setBigUint64(HEAD + 4, BigInt(frame.offset));
      view.setUint8(HEAD + 12, frame.fin ? 1 : 0);
      bytes.set(frame.data, HEAD + DATA_OVERHEAD);
    } else if (frame.type === GRANT || frame.type === GAP) {
      const [first, second] = frame.type === GRANT
        ? [frame.consumed, frame.limit] : [frame.start, frame.end];
      view.setBigUint64(HEAD + 4, BigInt(first));
      view.setBigUint64(HEAD + 12, BigInt(second));
    }
  }
  return bytes;
}

function ascii(text) {
  return text.replace(/[\u007f-\uffff]/g, (c) => "\\u" + c.charCodeAt(0).toString(16).padStart(4, "0"));
}

function parseObject(bytes, what) {
  let message;
  try {
    message = JSON.parse(new TextDecoder("utf-8", {fatal: true}).decode(bytes));
  } catch {
    throw new ProtocolError("bad-json", what);
  }
  if (message === null || typeof message !== "object" || Array.isArray(message)) {
    throw new ProtocolError("bad-json", what);
  }
  return message;
}

// Bytes in any pieces to frames; pieces of DATA are passed on as they come.
export class Decoder {
  constructor() {
    this.hold = new Uint8Array(0);
    this.open = null; // the DATA frame that goes on
  }

  feed(chunk) {
    const out = [];
    if (this.open) {
      const open = this.open, take = Math.min(open.left, chunk.length);
      if (!take) return out;
      open.left -= take;
      out.push({type: DATA, stream: open.stream, offset: open.offset,
        data: chunk.subarray(0, take), fin: open.fin && !open.left});
      open.offset += take;
      if (open.left) return out;
      this.open = null;
      chunk = chunk.subarray(take);
    }
    if (this.hold.length) chunk = concat([this.hold, chunk]);
    const view = new DataView(chunk.buffer, chunk.byteOffset, chunk.length);
    let at = 0;
    while (chunk.length - at >= HEAD) {
      const type = view.getUint8(at), length = view.getUint32(at + 1), body = at + HEAD;
      if (!(type in MOST)) throw new ProtocolError("unknown-frame", `type ${type}`);
      if (length > MOST[type]) throw new ProtocolError("frame-too-long", `type ${type}`);
      if ((EXACT.has(type) && length !== MOST[type]) || (type === DATA && length < DATA_OVERHEAD)) {
        throw new ProtocolError("short-frame", `type ${type}`);
      }
      const come = chunk.length - body;
      if (type !== DATA) {
        if (come < length) break;
        out.push(decode(type, view, body, chunk.subarray(body, body + length)));
        at = body + length;
        continue;
      }
      if (come < DATA_OVERHEAD) break;
      const flags = view.getUint8(body + 12);
      if (flags & ~1) throw new ProtocolError("bad-flags", String(flags));
      const stream = view.getUint32(body), offset = offsetAt(view, body + 4);
      const size = length - DATA_OVERHEAD, here = Math.min(size, come - DATA_OVERHEAD);
      at = body + DATA_OVERHEAD + here;
      const fin = flags === 1 && here === size;
      if (here || here === size) {
        out.push({type: DATA, stream, offset, data: chunk.subarray(at - here, at), fin});
      }
      if (here < size) {
        this.open = {stream, offset: offset + here, left: size - here, fin: flags === 1};
        at = chunk.length;
      }
    }
    this.hold = chunk.slice(at);
    return out;
  }
}

function decode(type, view, at, body) {
  if (type === GRANT) {
    return {type, stream: view.getUint32(at), consumed: offsetAt(view, at + 4), limit: offsetAt(view, at + 12)};
  }
  if (type === GAP) {
    return {type, stream: view.getUint32(at), start: offsetAt(view, at + 4), end: offsetAt(view, at + 12)};
  }
  if (type === STOP) return {type, stream: view.getUint32(at)};
  if (type === PING || type === PONG) return {type, token: view.getBigUint64(at)};
  const message = parseObject(body, "frame");
  if (type !== BYE) return {type, message};
  const text = (value, most) => (typeof value === "string" ? value.slice(0, most) : "");
  return {type, code: text(message.code, 64), reason: text(message.reason, 1024)};
}

// What we send of one stream: kept until the other side has taken it.
class Sending {
  constructor(id, limit) {
    Object.assign(this, {id, limit, acked: 0, sent: 0, end: 0, stopped: false, chunks: []});
  }

  append(bytes) {
    if (this.stopped || !bytes.length) return;
    this.chunks.push({start: this.end, bytes});
    this.end += bytes.length;
  }

  ready() {
    return !this.stopped && this.sent < Math.min(this.end, this.limit);
  }

  take() {
    const chunk = this.chunks.find((each) => each.start + each.bytes.length > this.sent);
    const from = this.sent - chunk.start;
    const most = Math.min(MAX_FRAME, this.limit - this.sent);
    const data = chunk.bytes.subarray(from, from + most), offset = this.sent;
    this.sent += data.length;
    return {type: DATA, stream: this.id, offset, data, fin: false};
  }

  grant(consumed, limit) {
    if (consumed > this.sent) throw new ProtocolError("bad-grant", `stream ${this.id}`);
    this.acked = Math.max(this.acked, consumed);
    while (this.chunks.length && this.chunks[0].start + this.chunks[0].bytes.length <= this.acked) {
      this.chunks.shift();
    }
    this.limit = Math.max(this.limit, Math.min(limit, consumed + MAX_WINDOW));
  }

  resume(have, consumed, limit) {
    if (have < this.acked || have > this.end || consumed > have) {
      throw new ProtocolError("bad-resume", `stream ${this.id}`);
    }
    this.sent = have;
    this.grant(consumed, limit);
  }

  stop() {
    this.stopped = true;
    this.chunks = [];
  }
}

// What we receive of one stream; between `consumed` and `have` it is with the page.
class Receiving {
  constructor(id, window, start) {
    Object.assign(this, {id, window, have: start, consumed: start, limit: start + window, eof: null});
  }

  data({offset, data, fin}) {
    const end = offset + data.length, have = this.have;
    if (offset > have) throw new ProtocolError("missing-bytes", `stream ${this.id}`);
    if (end > this.limit) throw new ProtocolError("over-limit", `stream ${this.id}`);
    if (this.eof !== null && (end > this.eof || (fin && end !== this.eof))) {
      throw new ProtocolError("after-end", `stream ${this.id}`);
    }
    if (fin) {
      if (end < have) throw new ProtocolError("after-end", `stream ${this.id}`);
      this.eof = end;
    }
    if (end <= have) return data.subarray(0, 0);
    this.have = end;
    return data.subarray(have - offset);
  }

  gap({start, end}) {
    const have = this.have;
    if (start > have || end < start || this.eof !== null) {
      throw new ProtocolError("bad-gap", `stream ${this.id}`);
    }
    if (end <= have) return null;
    this.have = end;
    this.limit = Math.max(this.limit, end);
    return {start: have, end};
  }

  due() {
    return 2 * (this.consumed + this.window - this.limit) >= this.window;
  }

  promise() {
    this.limit = Math.max(this.limit, this.consumed + this.window);
    return [this.consumed, this.limit];
  }
}

// The client's side of one conversation, over as many links as it takes. A link: `linkUp`, then
// `pull` and `receive` until an event `greeted`, `adopt` its message, go on, `linkLost`.
export class Peer {
  constructor() {
    this.sendings = new Map([[CONTROL, new Sending(CONTROL, CONTROL_WINDOW)]]);
    this.receivings = new Map([[CONTROL, new Receiving(CONTROL, CONTROL_WINDOW, 0)]]);
    this.line = new Uint8Array(0); // the beginning of a control message
    this.stopped = new Set(); // before we opened them
    this.joined = false; // ever
    this.linkLost();
  }

  addSend(id, limit) {
    const sending = new Sending(id, limit);
    this.sendings.set(id, sending);
    if (this.stopped.has(id)) sending.stop();
  }

  addRecv(id, window, start) {
    if (!this.receivings.has(id)) this.receivings.set(id, new Receiving(id, window, start));
  }

  receiving(id) {
    return this.receivings.get(id);
  }

  sending(id) {
    return this.sendings.get(id);
  }

  consume(id, count) {
    const stream = this.receivings.get(id);
    stream.consumed += count;
    if (stream.due() && this.linked) this.granting.add(id);
  }

  say(message) {
    const line = new TextEncoder().encode(ascii(JSON.stringify(message)) + "\n");
    this.sendings.get(CONTROL).append(line);
  }

  write(id, bytes) {
    this.sendings.get(id).append(bytes);
  }

  ping(token) {
    this.urgent.push(encode({type: PING, token}));
    this.settle();
  }

  bye(code, reason = "") {
    this.urgent.push(encode({type: BYE, code, reason}));
  }

  settle() {
    for (const [id, stream] of this.receivings) {
      if (stream.consumed + stream.window > stream.limit) this.granting.add(id);
    }
  }

  linkUp(hello) {
    this.linkLost();
    this.linked = true;
    const have = {};
    for (const [id, stream] of this.receivings) have[id] = [stream.have, ...stream.promise()];
    this.urgent.push(encode({type: HELLO, message: {...hello, v: 1, have, stopped: []}}));
  }

  linkLost() {
    this.decoder = new Decoder();
    this.urgent = [];
    this.granting = new Set();
    this.pong = null;
    this.held = null;
    this.linked = this.greeted = this.open = false;
  }

  // Bytes to send, in pieces, about so many in all.
  pull(most) {
    const out = this.urgent;
    this.urgent = [];
    if (this.pong !== null) {
      out.push(encode({type: PONG, token: this.pong}));
      this.pong = null;
      this.settle();
    }
    for (const id of this.granting) {
      const [consumed, limit] = this.receivings.get(id).promise();
      out.push(encode({type: GRANT, stream: id, consumed, limit}));
    }
    this.granting.clear();
    let left = this.open ? most : 0;
    for (const stream of this.sendings.values()) { // control is the first
      while (left > 0 && stream.ready()) {
        const bytes = encode(stream.take());
        left -= bytes.length;
        out.push(bytes);
      }
    }
    return out;
  }

  receive(chunk) {
    const frames = this.decoder.feed(chunk), events = [];
    if (this.held) this.held.push(...frames);
    else this.handle(frames, events);
    return events;
  }

  // The positions in a WELCOME whose streams are open by now; events of what came behind it.
  adopt(message) {
    const held = this.held || [], events = [];
    this.held = null;
    const have = message.have, stopped = message.stopped ?? [];
    if (have === null || typeof have !== "object" || !Array.isArray(stopped)) {
      throw new ProtocolError("bad-greeting", "positions");
    }
    for (const [id, stream] of this.sendings) {
      const position = have[id];
      if (position === undefined) {
        stream.sent = stream.acked;
      } else {
        if (!Array.isArray(position) || position.length !== 3 || !position.every(Number.isSafeInteger)) {
          throw new ProtocolError("bad-greeting", "position");
        }
        stream.resume(...position);
      }
    }
    for (const id of stopped) this.stop(id);
    this.open = true;
    this.handle(held, events);
    return events;
  }

  handle(frames, events) {
    for (let index = 0; index < frames.length; index++) {
      const frame = frames[index], {type} = frame;
      if (!this.greeted && [DATA, GRANT, STOP, GAP].includes(type)) {
        throw new ProtocolError("before-greeting", `type ${type}`);
      }
      if (type === DATA) {
        this.onData(frame, events);
      } else if (type === GRANT) {
        this.the(this.sendings, frame.stream).grant(frame.consumed, frame.limit);
      } else if (type === GAP) {
        if (frame.stream === CONTROL) throw new ProtocolError("no-stream", "GAP");
        const news = this.the(this.receivings, frame.stream).gap(frame);
        if (news) events.push({event: "gap", stream: frame.stream, ...news});
      } else if (type === STOP) {
        this.stop(frame.stream);
      } else if (type === PING) {
        this.pong = frame.token;
      } else if (type === BYE) {
        events.push({event: "ended", code: frame.code, reason: frame.reason});
      } else if (type === WELCOME) {
        if (this.greeted || frame.message.v !== 1) throw new ProtocolError("version", "WELCOME");
        this.greeted = this.joined = true;
        this.held = frames.slice(index + 1);
        events.push({event: "greeted", message: frame.message});
        return;
      } else if (type === HELLO) {
        throw new ProtocolError("unexpected-greeting", "HELLO");
      }
    }
  }

  the(streams, id) {
    const stream = streams.get(id);
    if (!stream) throw new ProtocolError("no-stream", String(id));
    return stream;
  }

  stop(id) {
    if (id === CONTROL) throw new ProtocolError("no-stream", "STOP");
    const stream = this.sendings.get(id);
    if (stream) stream.stop();
    else if (this.stopped.size < 65536) this.stopped.add(id);
  }

  onData(frame, events) {
    const stream = this.the(this.receivings, frame.stream), offset = stream.have;
    const ended = stream.eof !== null, data = stream.data(frame);
    if (frame.stream === CONTROL) {
      this.consume(CONTROL, data.length);
      this.onControl(data, events);
      return;
    }
    if (data.length) events.push({event: "data", stream: frame.stream, offset, data});
    if (frame.fin && !ended) events.push({event: "end", stream: frame.stream});
  }

  onControl(data, events) {
    let rest = this.line.length ? concat([this.line, data]) : data;
    for (let at = rest.indexOf(10); at >= 0; at = rest.indexOf(10)) {
      events.push({event: "control", message: parseObject(rest.subarray(0, at), "control message")});
      rest = rest.subarray(at + 1);
    }
    if (rest.length > MAX_JSON) throw new ProtocolError("frame-too-long", "control message");
    this.line = rest.slice();
  }
}
